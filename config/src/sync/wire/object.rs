//! Objects and their bytes.
use crate::snapshot::object::Malformed;
use crate::snapshot::{Object, Value};

pub(crate) fn encode(_value: &Value) -> Option<Object> {
    unimplemented!()
}

pub(crate) fn decode(_object: &Object) -> Result<Value, Malformed> {
    unimplemented!()
}
