"""A shop's orders: stock is reserved, a slow bank is asked, a mail goes out once, failures are undone.

    python -m examples.orders                  # tells a story, in a moment, though days pass in it
    python -m examples.orders work shop.db     # a worker; start several, and kill them

`events.py` says what is stored, `outside.py` who else is asked, `fulfilment.py` what is done with an
order, for as long as it takes.
"""
