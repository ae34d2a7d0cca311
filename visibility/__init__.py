"""What every process of smsgw tells of itself, in one form: node, authority and agent alike.

    alerts      the contract: what is raised and resolved, once each, and who is told
    catalogue   every alert there is: name, severity, labels
    rules       the same as alerting rules of Prometheus
    surges      counters that grow faster than they may
    core_log    what gRPC's core writes about refused handshakes
    metrics_server      Prometheus' page, and `families`, what some of them show there
    json_log    the log of authority and agent

It imports nothing of ours, so that every package may use it. What is wrong, and when, is known where it happens.
"""
