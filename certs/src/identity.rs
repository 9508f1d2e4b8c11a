//! Chain, key, names and validity, checked for agreement once.
