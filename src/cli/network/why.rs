//! Why a target was not connected to, in words, and what to do about it.

use crate::model::TlsCause;
use crate::preconnect::{Cause, Failure, Fault, NameFault, Report};

/// What happened, and what to do next.
pub fn why(report: &Report, failure: Failure) -> (String, &'static str) {
    let stage = failure.stage.name();
    match failure.cause {
        Cause::Name(fault) => name(fault),
        Cause::Connect(fault) if failure.stage == crate::preconnect::Stage::Tls => (
            match fault {
                Fault::Reset => "it was reset during the TLS handshake".to_owned(),
                other => format!("the connection was lost during the TLS handshake ({})", word(other)),
            },
            "check whether TLS is spoken on this port",
        ),
        Cause::Connect(fault) => connect(fault, report.attempts.len()),
        Cause::Held => (
            "a limit of this program held it back for too long".to_owned(),
            "raise --half-open or --flows, or try fewer targets at once",
        ),
        Cause::Tls(cause) => tls(cause),
        Cause::TimedOut => (
            match failure.stage {
                crate::preconnect::Stage::Dns => "no DNS server answered in time".to_owned(),
                crate::preconnect::Stage::Tcp => "no address answered in time".to_owned(),
                _ => "the TLS handshake took too long".to_owned(),
            },
            match failure.stage {
                crate::preconnect::Stage::Dns => "check the network, or name a server with --dns-forwarder",
                crate::preconnect::Stage::Tcp => {
                    "check host, port and firewall, or give it more time with --tcp-timeout"
                }
                _ => "check whether TLS is spoken on this port, or give it more time with --tls-timeout",
            },
        ),
        Cause::Closed => (
            "it was closed right after it was opened".to_owned(),
            "look into the server's log: it does not want this client or protocol",
        ),
        Cause::Talked => (
            "it sends a lot without being asked".to_owned(),
            "check whether the port speaks the protocol that was given",
        ),
        Cause::Stopped => (format!("stopped at {stage}"), "try again"),
    }
}

/// How an attempt ended, in one word or two.
pub fn word(fault: Fault) -> &'static str {
    match fault {
        Fault::Refused => "refused",
        Fault::Reset => "reset",
        Fault::Unreachable => "unreachable",
        Fault::NoResources => "no socket left",
        Fault::TimedOut => "no answer",
        Fault::Slower => "slower",
    }
}

fn name(fault: NameFault) -> (String, &'static str) {
    let check = "check the name";
    let servers = "check the network, or name a server with --dns-forwarder";
    match fault {
        NameFault::NotThere => ("there is no such name".to_owned(), check),
        NameFault::NoAddress => ("the name has no address".to_owned(), check),
        NameFault::BadName => ("it is no name".to_owned(), check),
        NameFault::NoServer => ("no DNS server is known".to_owned(), "name one with --dns-forwarder"),
        NameFault::NoAnswer => ("no DNS server answered in time".to_owned(), servers),
        NameFault::Unreachable => ("no DNS server can be reached from here".to_owned(), servers),
        NameFault::Refused => ("nothing listens where the DNS server should be".to_owned(), servers),
        NameFault::Rcode(rcode) => (format!("the DNS servers answer {rcode}"), servers),
        NameFault::Useless => ("the DNS servers' answers are of no use".to_owned(), servers),
        NameFault::Overloaded => ("too much is asked at once".to_owned(), "try fewer targets at once"),
    }
}

fn connect(fault: Fault, attempts: usize) -> (String, &'static str) {
    let them = if attempts > 1 { "none of its addresses" } else { "its address" };
    match fault {
        Fault::Refused => {
            ("nothing listens on this port".to_owned(), "start the service, or correct host and port")
        }
        Fault::Reset => ("the connection was reset".to_owned(), "look for a firewall in between"),
        Fault::Unreachable => (
            format!("{them} can be reached from this machine"),
            "check the network and its routes; `dht-hunter network status` shows them",
        ),
        Fault::NoResources => {
            ("this machine has no socket or port left".to_owned(), "raise the limit of open files")
        }
        Fault::TimedOut | Fault::Slower => (
            format!("{them} answered"),
            "check host, port and firewall, or give it more time with --tcp-timeout",
        ),
    }
}

/// What a server's alert says (RFC 8446, section 6; the registry of IANA), and what to do.
fn alert(number: u8) -> (&'static str, &'static str) {
    let log = "look into the server's log";
    match number {
        0 => ("it closed the connection", log),
        10 => ("it did not expect what we sent", log),
        20 => ("a record arrived damaged", "look for a firewall in between"),
        22 => ("a record is too long for it", log),
        40 => ("it finds no set of parameters in common", "have it speak TLS 1.2 or 1.3 with usual ciphers"),
        42..=46 => ("it does not accept our certificate", "it wants one of its clients; none is sent"),
        47 => ("it finds a field of ours out of range", log),
        48 => ("it does not know who signed our certificate", "it wants one of its clients; none is sent"),
        49 => ("it does not let us in", "ask whoever runs it"),
        50 | 51 => ("it cannot read or verify what we sent", "look for a firewall in between"),
        70 => ("it speaks no TLS version of ours", "have it speak TLS 1.2 or 1.3"),
        71 => ("what we offer is not secure enough for it", log),
        80 => ("it has a fault of its own", log),
        86 => ("it thinks that the version was lowered on the way", "look for a firewall in between"),
        90 => ("somebody there cancelled it", log),
        109 => ("it misses an extension", log),
        110 => ("it does not know an extension of ours", log),
        112 => ("it has no host of this name", "check the name"),
        113 => ("it is not content with the certificate's status", log),
        115 => ("it does not know the key that was agreed on before", log),
        116 => ("it wants a certificate of its clients", "none is sent; ask whoever runs it"),
        120 => (
            "it speaks none of the protocols that were offered (ALPN)",
            "try the protocol tls, which offers none",
        ),
        _ => ("it does not say why in words that are known", log),
    }
}

fn tls(cause: TlsCause) -> (String, &'static str) {
    let renew = "have the server's certificate renewed";
    let trust = "name its authority's certificate with SSL_CERT_FILE, if it is to be trusted";
    let spoken = "check whether TLS is spoken on this port";
    match cause {
        TlsCause::Expired => ("its certificate has expired".to_owned(), renew),
        TlsCause::NotYetValid => {
            ("its certificate is not valid yet".to_owned(), "check the clocks of both machines")
        }
        TlsCause::WrongName => (
            "its certificate is for other names".to_owned(),
            "use one of the names that the certificate has (`-v` shows them)",
        ),
        TlsCause::UnknownIssuer => ("nobody trusted has signed its certificate".to_owned(), trust),
        TlsCause::SelfSigned => ("its certificate is signed by itself".to_owned(), trust),
        TlsCause::BadCertificate => {
            ("its certificate is not for servers, or cannot be read".to_owned(), renew)
        }
        TlsCause::Revoked => ("its certificate was revoked".to_owned(), renew),
        TlsCause::NoCommonVersionOrCipher => {
            ("it speaks no TLS version or cipher of ours".to_owned(), "have it speak TLS 1.2 or 1.3")
        }
        TlsCause::NoCommonAlpn => (
            "it speaks none of the protocols that were offered (ALPN)".to_owned(),
            "try the protocol tls, which offers none",
        ),
        TlsCause::Alert(number) => {
            let (said, advice) = alert(number);
            (format!("it gave up the handshake: {said} (TLS alert {number})"), advice)
        }
        TlsCause::Protocol => ("what it says is no TLS".to_owned(), spoken),
        TlsCause::Ended => ("it ended the connection during the TLS handshake".to_owned(), spoken),
        TlsCause::NotBuilt => {
            ("this program was built without TLS".to_owned(), "build it with the feature `tls`")
        }
        TlsCause::BadServerName => ("its name can be in no certificate".to_owned(), "check the name"),
    }
}
