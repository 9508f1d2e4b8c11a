//! The commands that start processes.

use std::process::ExitCode;

use super::args::{Global, RunArgs, UpArgs};
use super::failure::Failure;

pub(super) fn up(_global: &Global, _arguments: &UpArgs) -> Result<ExitCode, Failure> {
    Err(Failure::failed("not yet"))
}

pub(super) fn control(_global: &Global, _arguments: &RunArgs) -> Result<ExitCode, Failure> {
    Err(Failure::failed("not yet"))
}

pub(super) fn gateway(_global: &Global, _arguments: &[std::ffi::OsString]) -> Failure {
    Failure::failed("not yet")
}

pub(super) fn check(_global: &Global, _arguments: &RunArgs) -> Result<ExitCode, Failure> {
    Err(Failure::failed("not yet"))
}
