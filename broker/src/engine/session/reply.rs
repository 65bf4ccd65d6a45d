//! The frames that inform a client about the result of its frames.

use bytes::Bytes;
use stomp_codec::{Command, Frame, Version};

use super::action::Closing;
use super::replies::Receipt;
use crate::engine::ack::DeliveryId;
use crate::engine::refusal::Refusal;

/// Returns how a connection ends after a refusal.
pub(super) fn closing(refusal: &Refusal, receipt: Option<&str>) -> Closing {
    Closing {
        farewell: Some(error_frame(refusal, receipt)),
        code: refusal.code(),
        reason: refusal.to_string(),
        label: refusal.label(),
        absent: refusal.is_absence(),
    }
}

/// Returns the MESSAGE that reports a refusal without an ERROR. No subscription is needed for it.
pub(super) fn refusal_message(refusal: &Refusal, id: DeliveryId, receipt: Option<&str>) -> Frame {
    let mut message = Frame::new(Command::Message)
        .with_header("destination", REFUSALS)
        .with_header("subscription", REFUSALS)
        .with_header("message-id", &id.to_string())
        .with_header("reason", refusal.label());
    if let Some(receipt) = receipt {
        message = message.with_header("receipt-id", receipt);
    }
    let text = format!("{refusal}\n\n{}\n", refusal.advice());
    message
        .with_header("content-type", "text/plain")
        .with_body(Bytes::from(text))
}

/// Returns the ERROR that reports a refusal, with the `receipt` of the faulty frame.
pub fn error_frame(refusal: &Refusal, receipt: Option<&str>) -> Frame {
    let message = refusal.to_string();
    let mut error = Frame::new(Command::Error).with_header("message", &message);
    if matches!(refusal, Refusal::NoCommonVersion(_)) {
        error = error.with_header("version", &Version::ALL.map(Version::as_str).join(","));
    }
    if let Some(receipt) = receipt {
        error = error.with_header("receipt-id", receipt);
    }
    let text = format!("{message}\n\n{}\n", refusal.advice());
    error
        .with_header("content-type", "text/plain")
        .with_body(Bytes::from(text))
}

/// Returns the RECEIPT that a frame asks for.
pub(super) fn receipt(frame: &Frame) -> Option<Receipt> {
    let id = frame.header("receipt")?;
    let receipt = Frame::new(Command::Receipt).with_header("receipt-id", id);
    Some(Box::new(receipt))
}

/// The destination of the MESSAGE that reports a refusal.
const REFUSALS: &str = "/stompd/refusals";
