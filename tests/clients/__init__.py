"""Real clients of other people before a real gateway, before a model that answers predictably.

Their modules do not begin with `test_`, so that the suite leaves them alone: they need packages that nobody
else needs. `tox -e clients,clients-openai1` installs those and names the modules. A gateway is a process of
its own here, the clients block the tests as they would block anybody, and nothing runs on a reactor.
"""
