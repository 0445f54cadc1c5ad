"""`kubectl quorate`: what a person at a keyboard asks of a cluster, with kubectl's own credentials.

It reads and annotates `BrokerCluster`s and goes through the API server to a broker's Admin API;
whatever it shows is in `.status` or comes from a broker, nothing is decided here. Read next:
`app.py` for the commands, `views.py` for what they show, `talk.py` for how they reach things.
"""
