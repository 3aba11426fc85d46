//! What is typed behind `mina-p2p`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use mina_p2p_transport::webrtc::StunServer;
use mina_p2p_wire::{Address, ChainId, Host, Signaling};

/// The longest that a dial may take, in seconds: ten minutes are more than any step's own limit.
const MAX_TIMEOUT: u64 = 600;

/// The most dials of one command.
const MAX_TIMES: i64 = 1_000;

/// The forms of addresses that can be dialed.
const FORMS: &str = "\
an address that can be dialed is one of
  /PEER/http/HOST/PORT                              WebRTC, signaling by HTTP
  /PEER/https/HOST/PORT                             WebRTC, signaling by HTTPS
  /PEER/https_proxy/CLUSTER/HOST/PORT               WebRTC, signaling by HTTPS through a proxy
  /ip4|ip6|dns4|dns6/HOST/udp/PORT/mina-quic/p2p/ID QUIC
where PEER is a peer id as the Mina Rust node writes it (2..) and ID one as libp2p writes it (12D3Koo..)";

/// Mainnet's chain id, as Mina's own tests of its releases have it (buildkite's ChainIdTest).
const MAINNET: &str = "a7351abc7ddf2ea92d1b38cc8e636c271c1dfd2c081c637f62ebc2af34eb7cc1";
/// Devnet's, likewise.
const DEVNET: &str = "29936104443aaf264a7f0192ac64b1c7173198c1ed404c1bcff5e562e05eb7f6";

/// The most seeds: a mean does not get better beyond, only slower.
const MAX_SEEDS: i64 = 1_000_000;

/// What is in a Mina block, what it costs to relay it, and why a peer cannot be reached.
#[derive(Debug, Parser)]
#[command(name = "mina-p2p", version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(Inspect),
    Compact(Compact),
    Dial(Dial),
}

/// Show a block's anatomy: header, body, items.
///
/// FILE has the block's binprot bytes, without a gossip tag or RPC framing. A block whose body is not the one that its header
/// names is shown too.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The block.
    pub(crate) file: PathBuf,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// The network's dummy proof (binprot of OCaml's Proof.transaction_dummy), which stands for every proof in a transaction
    /// hash. Without it zkApp commands with proofs are shown without hash.
    #[arg(long, value_name = "FILE")]
    pub(crate) dummy_proof: Option<PathBuf>,
}

/// Relay blocks compactly, offline, and show what it costs.
///
/// For each block and each seed 1, 2, .. it is drawn which items the receiver's pools have; then the compact message is made,
/// the block is rebuilt from it, what is missing is asked for and answered, and the result is compared with the file. What is
/// counted: the frames of all messages, each with its head of 4 bytes; not QUIC's and UDP's own bytes. Figures are means over
/// the seeds.
#[derive(Debug, clap::Args)]
pub(crate) struct Compact {
    /// The blocks.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The probability that an item is in the receiver's pools, from 0 to 1.
    #[arg(long, value_name = "PROBABILITY", default_value = "0.95", value_parser = probability)]
    pub(crate) hit: f64,
    /// How many draws to take the mean of.
    #[arg(long, value_name = "COUNT", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=MAX_SEEDS))]
    pub(crate) seeds: u32,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write a chart of each block's bytes before and after, as SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
}

/// Dial a peer of any kind, and show how far it gets and how long each step takes.
///
/// ADDRESS is that of a mina-p2p node or of a Mina Rust node. WebRTC's steps: resolve the signaling server's name, connect to it,
/// get its answer to our offer, find a path for datagrams (ICE), encrypt (DTLS), open the streams (SCTP), authenticate. QUIC's:
/// resolve, encrypt, authenticate. Then the peer is asked for the peers that it knows, and its first message is waited for,
/// whichever it is; a Mina Rust node sends none for three seconds. Where a dial stops, it is said what was reached, what was
/// not, and what to check. The peer counts us as one of its peers for that time.
///
/// Ends with 0 if every dial got a first message, with 1 if not, with 2 if the arguments make no sense.
#[derive(Debug, clap::Args)]
pub(crate) struct Dial {
    /// Whom to dial: `/PEER/http/HOST/PORT`, `/PEER/https/HOST/PORT`, `/PEER/https_proxy/CLUSTER/HOST/PORT`, or
    /// `/ip4/HOST/udp/PORT/mina-quic/p2p/ID` (also ip6, dns4, dns6).
    #[arg(value_parser = address)]
    pub(crate) address: Address,
    #[command(flatten)]
    pub(crate) chain: Chain,
    /// How long one dial may take, its first message included.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    pub(crate) timeout: u64,
    /// How many times to dial, one after the other.
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=MAX_TIMES))]
    pub(crate) times: u32,
    /// Ask this STUN server which address the world sees us at, so that a peer behind a firewall can send to it (WebRTC). May be
    /// given several times. Waiting for it, 500 ms at most, is part of the first step. Not asked for a peer on this machine.
    #[arg(long, value_name = "HOST:PORT", value_parser = stun)]
    pub(crate) stun: Vec<StunServer>,
    /// Dial as the node with this secret key, in base58check. Without it each dial has an identity of its own.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which network the peer is of.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Chain {
    /// The network's chain id, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    chain_id: Option<ChainId>,
    /// The network, by name.
    #[arg(long)]
    network: Option<Network>,
}

/// A network that is known by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Network {
    /// Chain id a7351abc..
    Mainnet,
    /// Chain id 29936104..
    Devnet,
}

impl Chain {
    /// Its chain id; none only if nothing was given, which is refused before.
    pub(crate) fn id(&self) -> Option<ChainId> {
        let named = |network| match network {
            Network::Mainnet => MAINNET.parse().ok(),
            Network::Devnet => DEVNET.parse().ok(),
        };
        self.chain_id.or_else(|| self.network.and_then(named))
    }
}

fn address(text: &str) -> Result<Address, String> {
    let why = match text.parse::<Address>() {
        Ok(Address::WebRtc { signaling: Signaling::Relay { .. }, .. }) => {
            "this peer is found through a relay, which only who is connected to it can ask".to_owned()
        }
        Ok(Address::Libp2p { .. }) => "that is an address of libp2p, which this network is not".to_owned(),
        // A node prints its own so. Of this machine it would be dialed by one transport, and not by the other.
        Ok(address) if address.host().and_then(Host::ip).is_some_and(|ip| ip.is_unspecified()) => {
            "its host stands for all addresses of the machine that listens there: put one that leads to it in its place"
                .to_owned()
        }
        Ok(address) => return Ok(address),
        Err(error) => error.to_string(),
    };
    Err(format!("{why};\n{FORMS}"))
}

fn stun(text: &str) -> Result<StunServer, String> {
    let (host, port) = text.rsplit_once(':').ok_or("a STUN server is HOST:PORT; the usual port is 3478")?;
    let host = host.parse().map_err(|error| format!("host: {error}"))?;
    let port = port.parse().map_err(|error| format!("port: {error}"))?;
    Ok(StunServer { host, port })
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(hit) if (0.0..=1.0).contains(&hit) => Ok(hit),
        Ok(hit) => Err(format!("{hit} is outside of 0..=1")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_address_that_cannot_be_dialed_says_why_and_what_can() {
        let peer = mina_p2p_wire::SecretKey::from_bytes([1; 32]).peer_id();
        let libp2p = peer.to_libp2p();
        for good in [
            format!("/{peer}/http/1.2.3.4/3000"),
            format!("/{peer}/https_proxy/7/a.example/443"),
            format!("/dns4/a.example/udp/3000/mina-quic/p2p/{libp2p}"),
        ] {
            assert_eq!(address(&good).unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("1.2.3.4:3000".to_owned(), "starts with `/`"),
            (format!("/{peer}/http/1.2.3.4"), "ends where a port is expected"),
            (format!("/{peer}/ftp/1.2.3.4/3000"), "`ftp` stands where"),
            (format!("/{peer}/p2p/{peer}"), "through a relay"),
            (format!("/{peer}/http/0.0.0.0/3000"), "all addresses of the machine"),
            (format!("/ip6/::/udp/3000/mina-quic/p2p/{libp2p}"), "all addresses of the machine"),
            (format!("/ip4/1.2.3.4/tcp/3000/p2p/{libp2p}"), "libp2p"),
        ] {
            let error = address(&bad).unwrap_err();
            assert!(error.contains(why) && error.contains("/PEER/http/HOST/PORT"), "{bad}: {error}");
        }
    }

    #[test]
    fn networks_have_their_chain_ids_and_one_is_wanted() {
        let peer = mina_p2p_wire::SecretKey::from_bytes([1; 32]).peer_id();
        let address = format!("/{peer}/http/1.2.3.4/3000");
        let id = |args: &[&str]| match Args::try_parse_from([&["mina-p2p", "dial", &address], args].concat())
            .map_err(|error| error.kind())?
            .command
        {
            Command::Dial(dial) => Ok(dial.chain.id().map(|id| id.to_string())),
            other => panic!("{other:?}"),
        };
        assert_eq!(id(&["--network", "mainnet"]), Ok(Some(MAINNET.to_owned())));
        assert_eq!(id(&["--network", "devnet"]), Ok(Some(DEVNET.to_owned())));
        assert_eq!(id(&["--chain-id", &"07".repeat(32)]), Ok(Some("07".repeat(32))));
        assert_eq!(id(&[]), Err(clap::error::ErrorKind::MissingRequiredArgument));
        let both = id(&["--network", "devnet", "--chain-id", DEVNET]);
        assert_eq!(both, Err(clap::error::ErrorKind::ArgumentConflict));
        assert_eq!(id(&["--chain-id", "07"]), Err(clap::error::ErrorKind::ValueValidation));
    }

    #[test]
    fn a_stun_server_has_a_host_and_a_port() {
        assert_eq!(stun("[::1]:3478").map(|server| server.port), Ok(3478));
        assert_eq!(stun("stun.example:19302").map(|server| server.host.to_string()), Ok("stun.example".to_owned()));
        for text in ["stun.example", "stun.example:", ":3478", "stun.example:65536"] {
            assert!(stun(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_probability_is_from_0_to_1() {
        assert_eq!([probability("0"), probability("0.95"), probability("1")], [Ok(0.0), Ok(0.95), Ok(1.0)]);
        for text in ["-0.1", "1.01", "NaN", "inf", "", "half"] {
            assert!(probability(text).is_err(), "{text}");
        }
    }
}
