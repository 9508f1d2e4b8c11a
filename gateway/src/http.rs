//! HTTP: the strict door, routing, the exchange with an upstream.
