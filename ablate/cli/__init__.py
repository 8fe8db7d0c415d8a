"""The command line: one file for each kind of verb, each verb importing what it needs."""
