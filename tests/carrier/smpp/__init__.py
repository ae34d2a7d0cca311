"""The SMPP codec and session, judged by golden octets, by smpplib, and by hostile input."""
