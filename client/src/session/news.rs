//! What the server tells this player and what the pilot asks of it: frames of the session's stream, in order.
//!
//! Runs in the player client and in bots. What the frames mean is the business of who reads them.

use crate::session::link::Session;
use bevy::{
    ecs::{
        message::MessageWriter,
        system::{Local, Res},
    },
    prelude::Message,
};
use sidereal_protocol::{
    control::{decode_frame, encode_frame},
    messages::{FromPlayer, ToPlayer},
};
use sidereal_transport::StreamError;

/// Something that the server has told, in the order in which it did.
#[derive(Message, Debug, Clone)]
pub struct News(pub ToPlayer);

/// Takes what the server has told.
pub(crate) fn receive_news(session: Res<Session>, mut news: MessageWriter<News>, mut refused: Local<u64>) {
    while let Some(bytes) = session.handle().recv_stream() {
        match decode_frame(&bytes) {
            Ok(told) => {
                news.write(News(told));
            }
            Err(error) => {
                *refused += 1;
                if *refused == 1 {
                    tracing::warn!(%error, "the server has told something that this client does not understand");
                }
            }
        }
    }
}

/// Asks something of the server; it leaves with the update.
///
/// # Errors
/// When the session is over, or its queue is full.
pub(crate) fn ask(session: &Session, asked: &FromPlayer) -> Result<(), StreamError> {
    let frame = encode_frame(asked).map_err(|_| StreamError::TooLarge)?;
    session.handle().send_stream(frame.into())
}
