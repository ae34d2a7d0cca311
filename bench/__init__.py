"""Measures what a message costs (`make bench`): messages/s to the receipt, and CPU of the node for each message.

__main__     the command line: for each mode a new node, a sink, load generators, one result
load         a load generator, in a process of its own
traffic      what is sent: distinct recipients in 20 countries, distinct texts of 120 characters
sink         the carrier: ours (`smsgw simulator --sink`), or a foreign one (SINK=host:port[,ca_file])
inside       evaluations of policies, and the growth of the audit, from the node itself
usage        CPU and memory of a process, from /proc
sampling     where the node's time goes (--profile, by py-spy)
results      the table, and the JSON files in bench/results/
"""
