"""Where records come from: the tracking store, a file of records, somebody else's runs."""
