"""Where records are kept: the contract in `base`, a back end in each module beside it."""
