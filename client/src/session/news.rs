//! The server's messages to this player and the player's requests: frames of the session's stream, in order.
//!
//! Runs in the player client and in bots. The systems that read the messages interpret them.

use crate::session::link::Session;
use bevy::{
    ecs::{
        message::MessageWriter,
        system::{Local, Res},
    },
    prelude::Message,
};
use sidereal_protocol::frames::{
    control::{decode_frame, encode_frame},
    messages::{FromPlayer, ToPlayer},
};
use sidereal_transport::StreamError;

/// A message from the server, in the order of the stream.
#[derive(Message, Debug, Clone)]
pub struct News(pub ToPlayer);

/// Reads the server's messages.
pub(crate) fn receive_news(session: Res<Session>, mut news: MessageWriter<News>, mut refused: Local<u64>) {
    while let Some(bytes) = session.handle().recv_stream() {
        match decode_frame(&bytes) {
            Ok(told) => {
                news.write(News(told));
            }
            Err(error) => {
                *refused += 1;
                if *refused == 1 {
                    tracing::warn!(%error, "an unknown message from the server was ignored");
                }
            }
        }
    }
}

/// Sends a request to the server, with the flush of this update.
///
/// # Errors
/// When the session has ended, or its queue is full.
pub(crate) fn ask(session: &Session, asked: &FromPlayer) -> Result<(), StreamError> {
    let frame = encode_frame(asked).map_err(|_| StreamError::TooLarge)?;
    session.handle().send_stream(frame.into())
}
