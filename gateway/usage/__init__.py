"""What messages cost, and how much of them tenants may use.

    prices     what a carrier bills for a segment: pure, in whole millionths of one currency
    caps       how much of each cap is used and held: pure but for the alerts that it raises
    keeping    takes up from the store what has been used, and tells the caps what becomes of messages
    assembly   from settings to these

What has been used is counted by the store (`gateway.store.usage`), in the transaction of each change.
"""
