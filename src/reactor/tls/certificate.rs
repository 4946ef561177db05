//! A server's own certificate in words.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::base::hash;
use crate::model::Certificate;
use crate::model::tls::{NAMES_MAX, TEXT_MAX};

/// What is told of a certificate; `None` if it cannot be read.
pub(super) fn describe(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(Certificate {
        not_after: validity.not_after.timestamp(),
        not_before: validity.not_before.timestamp(),
        subject: bounded(&certificate.subject().to_string()),
        issuer: bounded(&certificate.issuer().to_string()),
        names: names(&certificate),
        sha256: hash::sha256(der),
    })
}

/// Its own issuer, by the names in it.
pub(super) fn is_self_signed(der: &[u8]) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, certificate)| certificate.subject().as_raw() == certificate.issuer().as_raw())
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(bounded(name)),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| Ipv4Addr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*octets).ok().map(|octets| Ipv6Addr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).take(NAMES_MAX).collect()
}

/// At most [`TEXT_MAX`] bytes, and nothing that would move a terminal's cursor.
fn bounded(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        let char = if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
        if out.len() + char.len_utf8() > TEXT_MAX {
            break;
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    #[test]
    fn what_is_told_is_what_was_signed_and_is_bounded() {
        let mut params = CertificateParams::new(vec!["a.test".into(), "b.test".into()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::7".parse().unwrap()));
        params.distinguished_name.push(DnType::CommonName, format!("x\u{1b}[2J{}", "y".repeat(400)));
        params.not_before = date_time_ymd(2021, 1, 2);
        params.not_after = date_time_ymd(2031, 1, 2);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let told = describe(&der).unwrap();
        assert_eq!((told.not_before, told.not_after), (1_609_545_600, 1_925_078_400));
        assert_eq!(told.names, ["a.test", "b.test", "127.0.0.1", "2001:db8::7"]);
        assert_eq!((told.subject.clone(), told.subject.len()), (told.issuer, TEXT_MAX));
        assert!(told.subject.contains("x\u{fffd}[2Jyyy"), "{}", told.subject);
        assert_eq!(told.sha256, hash::sha256(&der));
        assert!(is_self_signed(&der));

        params.subject_alt_names =
            (0..99).map(|i| SanType::DnsName(format!("n{i}.test").try_into().unwrap())).collect();
        let many = describe(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!((many.names.len(), many.names[31].as_str()), (NAMES_MAX, "n31.test"));
    }

    #[test]
    fn what_is_no_certificate_is_not_told_of() {
        assert_eq!(describe(b""), None);
        assert_eq!(describe(&[0x30; 64]), None);
        assert!(!is_self_signed(b"0"));
    }
}
