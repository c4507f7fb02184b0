//! Checks, before any process is started, that the world's ports are free.
//!
//! Only a check: the server binds them itself a moment later, and reports if another program was faster.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// One port that the server is going to listen on, on the loopback address.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// The number; 0 means any free one.
    pub number: u16,
    /// Its purpose, for the reader.
    pub purpose: &'static str,
    /// The flag that sets it.
    pub flag: &'static str,
    /// TCP, else UDP.
    pub tcp: bool,
}

/// A port that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another program uses the port.
    #[error(
        "{transport} port {number} ({purpose}) is taken by another program: end that one (an earlier run?), or choose \
         another port with {flag} PORT (0 = any free one)"
    )]
    Taken {
        /// "UDP" or "TCP".
        transport: &'static str,
        /// The number.
        number: u16,
        /// Its purpose.
        purpose: &'static str,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// Two flags with the same port.
    #[error("{first} and {second} are both {number}: choose two different ports (0 = any free one)")]
    Same {
        /// One flag.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Their value.
        number: u16,
    },
    /// The system refuses the port for another reason.
    #[error("port {number} ({purpose}) cannot be used: {source}; choose another port with {flag} PORT")]
    Refused {
        /// The number.
        number: u16,
        /// Its purpose.
        purpose: &'static str,
        /// The flag that sets it.
        flag: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// Binds each of `ports` once and closes it again.
///
/// # Errors
/// Names the first port that is taken, used twice, or refused by the system.
pub fn check(ports: &[Port]) -> Result<(), PortError> {
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| port.number != 0) {
        let twin = ports[..index].iter().find(|other| other.number == port.number && other.tcp == port.tcp);
        if let Some(first) = twin {
            return Err(PortError::Same { first: first.flag, second: port.flag, number: port.number });
        }
        let address = (Ipv4Addr::LOCALHOST, port.number);
        let bound = if port.tcp { TcpListener::bind(address).map(drop) } else { UdpSocket::bind(address).map(drop) };
        let Port { number, purpose, flag, tcp } = *port;
        bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => {
                PortError::Taken { transport: if tcp { "TCP" } else { "UDP" }, number, purpose, flag }
            }
            _ => PortError::Refused { number, purpose, flag, source },
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16, flag: &'static str, tcp: bool) -> Port {
        Port { number, purpose: "players", flag, tcp }
    }

    #[test]
    fn a_taken_port_is_named_with_its_purpose_and_flag() {
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let number = taken.local_addr().expect("it is bound").port();
        let error = check(&[port(number, "--player-port", false)]).expect_err("it is taken").to_string();
        for part in ["UDP", &number.to_string(), "players", "--player-port"] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let number = taken.local_addr().expect("it is bound").port();
        assert!(matches!(check(&[port(number, "--http-port", true)]), Err(PortError::Taken { transport: "TCP", .. })));
    }

    #[test]
    fn any_free_port_may_be_asked_for_twice_a_number_may_not() {
        assert!(check(&[port(0, "--player-port", false), port(0, "--shard-port", false)]).is_ok());
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let number = free.expect("some port is free").port();
        let both = [port(number, "--player-port", false), port(number, "--shard-port", false)];
        assert!(matches!(check(&both), Err(PortError::Same { .. })));
    }
}
