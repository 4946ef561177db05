//! Records as people write them: types that have no text of ours go through hickory-proto.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::Message;

use crate::dns::Given;
use crate::wire::dns::{Kind, Name, Record};

/// Type, data and TTL of every record of an answer.
pub fn texts(given: &Given) -> Vec<(Kind, String, u32)> {
    let mut message = vec![0; given.answer.message().len()];
    let Some(_) = given.copy_to(&mut message) else { return Vec::new() };
    let ttl = given.ttl();
    let plain: Option<Vec<_>> =
        given.answer.records().map(|record| Some((record.kind, plain(&record)?, ttl))).collect();
    plain.unwrap_or_else(|| decoded(&message))
}

/// The types that most answers consist of.
fn plain(record: &Record<'_>) -> Option<String> {
    match record.kind {
        Kind::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(record.data()).ok()?).to_string()),
        Kind::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(record.data()).ok()?).to_string()),
        Kind::CNAME | Kind::NS | Kind::PTR => {
            let name: Name = record.name_in_data(0).read().ok()?;
            Some(name.to_string())
        }
        _ => None,
    }
}

fn decoded(message: &[u8]) -> Vec<(Kind, String, u32)> {
    let Ok(message) = Message::from_vec(message) else { return Vec::new() };
    let text = |record: &hickory_proto::rr::Record| {
        (Kind(u16::from(record.record_type())), record.data.to_string(), record.ttl)
    };
    message.answers.iter().map(text).collect()
}
