"""What older versions wrote is read, or brought forward: each in a folder named after what wrote it."""
