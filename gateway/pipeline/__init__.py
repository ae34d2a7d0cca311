"""From the commit to the carrier and back: intake, lanes, dispatch, settlement, receipts, inbound messages."""
