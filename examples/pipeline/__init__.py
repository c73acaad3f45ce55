"""A platform of services, by way of DynamoDB, Kinesis and Lambda, on servers that run here for it.

    python -m examples.pipeline

`Users` and `Groups` are two processes with their own commands and views, over the same platform events:

    REST → commands → DynamoDB → Kinesis → Lambda → views in SQLite, with a search → queries
                         └→ external events → Kinesis → Lambda → a newsletter, with its own store

`service.py` is Users and Groups, `senders.py` follows the feed into Kinesis, `functions.py` is what
Lambda runs, `newsletter.py` the third service; `platform.py` says where all of them are, and
`running.py` starts them. Events, commands and views are those of `examples.identity`.
"""
