//! Certificates from public authorities: accounts with them, orders as jobs, and when to renew.
//!
//! Nothing here is on a gateway's path: an order that waits or fails leaves what is served as it is.

pub mod account;
