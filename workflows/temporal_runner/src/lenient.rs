//! Input that is typed for whoever sends it and cannot fail for whoever receives it. A signal that does not
//! decode fails the workflow's task again and again, and the workflow stands still until another
//! build is there.

use serde::Serialize;
use serde::de::DeserializeOwned;
use temporalio_common::data_converters::{
    GenericPayloadConverter, PayloadConversionError, SerializationContext, TemporalDeserializable,
    TemporalSerializable,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;

/// What was sent, if it can be read.
#[derive(Debug, Clone, Copy)]
pub struct Lenient<T>(pub Option<T>);

impl<T> From<T> for Lenient<T> {
    fn from(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Serialize + 'static> TemporalSerializable for Lenient<T> {
    fn to_payload(
        &self,
        context: &SerializationContext<'_>,
    ) -> Result<Payload, PayloadConversionError> {
        match &self.0 {
            Some(value) => context.converter.to_payload(context, value),
            None => Err(PayloadConversionError::WrongEncoding),
        }
    }
}

impl<T: DeserializeOwned + 'static> TemporalDeserializable for Lenient<T> {
    fn from_payloads(
        context: &SerializationContext<'_>,
        payloads: Vec<Payload>,
    ) -> Result<Self, PayloadConversionError> {
        Ok(Self(context.converter.from_payloads::<T>(context, payloads).ok()))
    }
}
