//! The internal authority and the leaves it signs.
