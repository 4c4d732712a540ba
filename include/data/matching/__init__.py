"""Record linkage: which lead is which known person.

`resolve` does it for a batch, `decisions` for a pair that a person looks at. Knows no workflow and no CRM.
"""
