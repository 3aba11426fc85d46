//! A peer's first message.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mina_p2p_transport::{
    AcceptError, CloseReason, Connection, FrameBudget, RecvStream, SendStream, StreamError, TransportKind,
};
use mina_p2p_wire::message::{
    BestTipMessage, CommitmentMessage, CompactMessage, ExtensionMessage, RpcKind, RpcMessage, RpcRequest, RpcResponse,
    SignalingDiscoveryMessage, SignalingExchangeMessage, SnarkMessage, StreamingRpcMessage, TransactionMessage,
};
use mina_p2p_wire::{Channel, DecodeError, Role, StreamId};
use tokio::task::JoinSet;

/// The longest first message, in bytes: an answer to the one question that is asked. Permits and questions are far shorter.
const MAX_FIRST_MESSAGE_LEN: u32 = RpcKind::InitialPeers.max_response_len() as u32;

/// The characters of a message that are shown.
const MAX_SHOWN: usize = 100;

/// What a peer said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FirstMessage {
    channel: Channel,
    text: String,
}

impl fmt::Display for FirstMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.channel, self.text)
    }
}

/// Why a peer gave no first message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Silence {
    #[error("the connection ended: {0}")]
    Ended(CloseReason),
    #[error("{0}")]
    Accept(AcceptError),
    #[error("{0}")]
    Stream(StreamError),
    #[error("a frame of {len} bytes on {channel}, where none over {MAX_FIRST_MESSAGE_LEN} was asked for")]
    TooLong { channel: Channel, len: u32 },
    #[error("what came on {channel} is no message of that channel: {error}")]
    Malformed { channel: Channel, error: DecodeError },
}

impl From<StreamError> for Silence {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Closed(reason) => Self::Ended(reason),
            error => Self::Stream(error),
        }
    }
}

/// Asks the peer for the peers that it knows, and waits for whatever it says first.
pub(super) async fn first_message(connection: &Arc<dyn Connection>) -> Result<FirstMessage, Silence> {
    let budget = FrameBudget::default();
    let mut readers = JoinSet::new();
    // Dropped, they would be reset.
    let mut writers = Vec::new();
    for channel in channels(connection.transport()) {
        let stream = StreamId { channel, role: Role::Puller, request: 0 };
        let (send, recv) = connection.open(stream).await?;
        readers.spawn(hear(channel, recv, budget.clone()));
        writers.push((channel, send));
    }
    for (_, send) in writers.iter_mut().filter(|(channel, _)| *channel == Channel::Rpc) {
        ask(send).await?;
    }
    loop {
        tokio::select! {
            biased;
            Some(heard) = readers.join_next() => match heard {
                Ok(Ok(Some(message))) => return Ok(message),
                Ok(Err(silence)) => return Err(silence),
                // A stream without a message has ended: it may, and there are others.
                Ok(Ok(None)) | Err(_) => {}
            },
            accepted = connection.accept() => match accepted {
                Ok((stream, send, recv)) => {
                    readers.spawn(hear(stream.channel, recv, budget.clone()));
                    writers.push((stream.channel, send));
                }
                Err(AcceptError::Closed(reason)) => return Err(Silence::Ended(reason)),
                Err(error) => return Err(Silence::Accept(error)),
            },
            reason = connection.closed() => return Err(Silence::Ended(reason)),
        }
    }
}

/// The streams that we open: where they are shared, all that the existing node has; otherwise the one that we ask on.
fn channels(kind: TransportKind) -> impl Iterator<Item = Channel> {
    let shared = kind.shares_streams();
    // Those of 16 and up need an announcement, which ours does not have.
    let wanted = move |channel: &Channel| *channel == Channel::Rpc || (shared && channel.id() < 16);
    Channel::ALL.into_iter().filter(wanted)
}

async fn ask(send: &mut SendStream) -> Result<(), StreamError> {
    send.write(RpcMessage::Request { id: 0, request: RpcRequest::InitialPeers }.encode()).await
}

/// The first message of a stream; `None` when it ends without one.
async fn hear(channel: Channel, mut recv: RecvStream, budget: FrameBudget) -> Result<Option<FirstMessage>, Silence> {
    let len = match recv.read_head().await {
        Ok(Some(len)) => len,
        Ok(None) | Err(StreamError::Reset(_) | StreamError::Stopped(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if len > MAX_FIRST_MESSAGE_LEN {
        return Err(Silence::TooLong { channel, len });
    }
    let body = recv.read_body(len, &budget).await?.body;
    let text = describe(channel, body).map_err(|error| Silence::Malformed { channel, error })?;
    Ok(Some(FirstMessage { channel, text }))
}

fn describe(channel: Channel, body: Bytes) -> Result<String, DecodeError> {
    fn shown(message: &dyn fmt::Debug) -> String {
        // What strings of the peer's are in it, `Debug` makes safe to print.
        format!("{message:?}").chars().take(MAX_SHOWN).collect()
    }
    Ok(match channel {
        Channel::SignalingDiscovery => shown(&SignalingDiscoveryMessage::decode(body)?.value),
        Channel::SignalingExchange => shown(&SignalingExchangeMessage::decode(body)?.value),
        Channel::BestTip => shown(&BestTipMessage::decode(body)?.value),
        Channel::Transaction => shown(&TransactionMessage::decode(body)?.value),
        Channel::Snark => shown(&SnarkMessage::decode(body)?.value),
        Channel::SnarkJobCommitment => shown(&CommitmentMessage::decode(body)?.value),
        Channel::Rpc => match RpcMessage::decode(body)?.value {
            RpcMessage::Response { response: Some(RpcResponse::InitialPeers(addresses)), .. } => {
                format!("it knows {} addresses of peers", addresses.len())
            }
            message => shown(&message),
        },
        Channel::StreamingRpc => shown(&StreamingRpcMessage::decode(body)?.value),
        Channel::ExtensionRpc => shown(&ExtensionMessage::decode(body)?.value),
        Channel::CompactBlock => shown(&CompactMessage::decode(body)?.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_described_shortly_and_others_are_refused() {
        let permit = BestTipMessage::GetNext.encode().into_bytes();
        assert_eq!(describe(Channel::BestTip, permit), Ok("GetNext".to_owned()));
        let block = BestTipMessage::BestTip(vec![7; 100_000].into()).encode().into_bytes();
        assert!(describe(Channel::BestTip, block).unwrap().len() <= MAX_SHOWN);
        let answer = RpcMessage::Response { id: 0, response: Some(RpcResponse::InitialPeers(Vec::new())) };
        let text = describe(Channel::Rpc, answer.encode().into_bytes()).unwrap();
        assert_eq!(text, "it knows 0 addresses of peers");
        for channel in Channel::ALL {
            assert!(describe(channel, Bytes::new()).is_err(), "{channel}");
            assert!(describe(channel, Bytes::from_static(&[0xff; 40])).is_err(), "{channel}");
        }
    }

    #[test]
    fn only_what_the_existing_node_knows_is_opened() {
        let ids = |kind| channels(kind).map(Channel::id).collect::<Vec<_>>();
        assert_eq!(ids(TransportKind::WebRtc), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(ids(TransportKind::Quic), [7]);
    }
}
