"""Other implementations judge smsgw: node-smpp, grpc-js, tshark, strace, openssl, smpplib (`make test-interop`).

Everything here carries the marker `interop`, which `make test` leaves out.
"""
