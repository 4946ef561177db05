//! For programs that embed this one: calls that wait for their answer, before an engine on a thread
//! of its own.
//!
//! # What a name has, and what this machine is called
//!
//! ```
//! # // A DNS server on loopback, so that this example asks nobody else: every name is 127.0.0.7.
//! # let server = std::net::UdpSocket::bind("127.0.0.1:0")?;
//! # let server_addr = server.local_addr()?;
//! # std::thread::spawn(move || {
//! #     let mut query = [0; 512];
//! #     while let Ok((len, from)) = server.recv_from(&mut query) {
//! #         let end = 12 + query[12..len].iter().position(|byte| *byte == 0).unwrap() + 5;
//! #         let is_v4 = query[end - 3] == 1;
//! #         let mut answer = query[..end].to_vec();
//! #         answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
//! #         if is_v4 {
//! #             answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 7]);
//! #         }
//! #         server.send_to(&answer, from).unwrap();
//! #     }
//! # });
//! use dht_hunter::Resolver;
//! use dht_hunter::embed::{ForwarderConfig, ResolverConfig};
//!
//! // `Resolver::new()` asks the servers that the system asks; this one asks its own.
//! let forwarders = vec![ForwarderConfig::plain(server_addr)];
//! let resolver = Resolver::with(ResolverConfig { forwarders, ..ResolverConfig::default() })?;
//!
//! // Get network info
//! let info = resolver.network_info();
//! println!("{:?}", info.hostname);
//! println!("{:?}", info.ipv4());
//! println!("{:?}", info.ipv6());
//!
//! // Resolve a host name, and keep it at hand
//! let resolved = resolver.resolve_hostname("bun.example.", true)?;
//! println!("{:?}", resolved.ipv4);
//! println!("{:?}", resolved.ipv6);
//! println!("{}", resolved.cached);
//! # assert_eq!((resolved.ipv4[0].to_string(), resolved.ipv6.len()), ("127.0.0.7".to_owned(), 0));
//! # assert_eq!((resolved.cached, resolved.ttl), (false, Some(60)));
//! assert!(resolver.resolve_hostname("bun.example.", true)?.cached);
//! assert_eq!(resolver.cache()?.names, ["bun.example"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # DNS resolution only
//!
//! ```
//! use dht_hunter::Resolver;
//! # use dht_hunter::embed::{ForwarderConfig, ResolverConfig};
//!
//! # // The system's own servers are not asked in an example.
//! # let forwarders = vec![ForwarderConfig::plain("127.0.0.1:9".parse()?)];
//! # let resolver = Resolver::with(ResolverConfig { forwarders, ..ResolverConfig::default() })?;
//! # #[cfg(any())]
//! let resolver = Resolver::new()?;
//! let result = resolver.resolve_hostname("localhost", false)?;
//! println!("{result:?}");
//! # assert_eq!(result.ipv4, [std::net::Ipv4Addr::LOCALHOST]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
pub mod preconnect;
mod resolver;
pub mod system;
mod watch;

pub use resolver::{ResolveFailure, Resolved, Resolver, ResolverConfig, StartFailure};

pub use crate::dns::cache::{Config as CacheConfig, Stats as CacheStats, Summary as CacheSummary};
pub use crate::dns::{Failure, ForwarderConfig, Strategy};
pub use crate::model::NetworkInfo;
pub use crate::model::dns::Source;
pub use crate::reactor::StartError;
pub use crate::store::OpenError;
