"""Where the stock is not what the ERP says: found daily, decided by a person, put right on the side that is wrong."""
