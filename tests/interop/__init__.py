"""Other implementations judge smsgw: node-smpp, grpc-js, tshark, strace, smpplib (`make test-interop`).

Everything here carries the marker `interop`, which `make test` leaves out.
"""
