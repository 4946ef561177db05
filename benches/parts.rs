//! The parts, one by one. `cargo bench --bench parts [-- NAME]`
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench stops at what it did not expect")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use dht_hunter::base::Limiter;
use dht_hunter::base::{Id, Instant, Rng, Slots, Timers, Token, TokenBucket, UnixTime, hash};
use dht_hunter::dht::peers::{self, Peers};
use dht_hunter::dht::table::{K, Rules, Table};
use dht_hunter::dht::tokens::Tokens;
use dht_hunter::dns::answer::{Answer, Chain, Terms};
use dht_hunter::dns::{lookup, order};
use dht_hunter::engine::known::Known;
use dht_hunter::metadata::torrent::{self, Heard};
use dht_hunter::metadata::verify;
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::dns::{Flags, Kind, Message, Name, Section, Writer};
use dht_hunter::wire::krpc::{self, Method, PACKET_MAX, Query, Reply};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = queries, replies, table, announced, small_parts, known, metadata, names
}
criterion_main!(benches);

/// What a stranger makes large: none of it may take a millisecond.
fn names(c: &mut Criterion) {
    let mut group = c.benchmark_group("names");
    let mut rng = Rng::seeded(4);
    let sources: Vec<IpAddr> = (0..64).map(|_| Ipv4Addr::from_bits(rng.u32()).into()).collect();
    let both = lookup::ADDRESSES_MAX * 2;
    let addresses: Vec<(IpAddr, u32)> = (0..both)
        .map(|nth| match nth % 2 {
            0 => (Ipv4Addr::from_bits(rng.u32()).into(), 60),
            _ => (Ipv6Addr::from_bits(u128::from(rng.u64()) << 64).into(), 60),
        })
        .collect();
    group.bench_function(format!("order {both} addresses"), |b| {
        b.iter_batched_ref(
            || addresses.clone(),
            |all| order::sort(black_box(all), &sources),
            BatchSize::SmallInput,
        );
    });
    let name = Name::parse("large.test").unwrap();
    let mut out = vec![0; 65_535];
    let mut writer = Writer::new(&mut out, 7, Flags(Flags::QR)).unwrap();
    writer.question(name.wire(), Kind::A, 1).unwrap();
    let mut count = 0;
    while writer.record(Section::Answer, name.wire(), Kind::A, 60, &rng.u32().to_be_bytes()).is_ok() {
        count += 1;
    }
    let len = writer.finish();
    group.bench_function(format!("read {count} addresses"), |b| {
        b.iter(|| {
            let message = Message::parse(black_box(&out[..len])).unwrap();
            let terms = Terms { ttl_max: 3_600, public: None };
            Answer::read(&message, (&name, Kind::A), Chain::default(), &name, terms)
        });
    });
}

/// Every query, both ways.
fn queries(c: &mut Criterion) {
    let mut group = c.benchmark_group("krpc query");
    let mut rng = Rng::seeded(1);
    let (target, info_hash) = (Id::random(&mut rng), Id::random(&mut rng));
    let methods = [
        ("ping", Method::Ping),
        ("find_node", Method::FindNode { target }),
        ("get_peers", Method::GetPeers { info_hash, noseed: false, scrape: false }),
        ("sample_infohashes", Method::SampleInfohashes { target }),
        (
            "announce_peer",
            Method::AnnouncePeer {
                info_hash,
                port: 6881,
                implied_port: true,
                token: b"12345678",
                seed: true,
            },
        ),
    ];
    for (name, method) in methods {
        let query = Query { id: Id::random(&mut rng), read_only: false, want: None, method };
        let mut out = [0; PACKET_MAX];
        group.bench_function(format!("encode {name}"), |b| {
            b.iter(|| krpc::write_query(&mut out, b"abcd", black_box(&query)));
        });
        let len = krpc::write_query(&mut out, b"abcd", &query).unwrap();
        assert!(krpc::decode(&out[..len]).is_ok());
        group.bench_function(format!("decode {name}"), |b| {
            b.iter(|| krpc::decode(black_box(&out[..len])).is_ok())
        });
    }
    group.finish();
}

/// Every reply, both ways, read to the last node and hash.
fn replies(c: &mut Criterion) {
    let mut group = c.benchmark_group("krpc reply");
    let mut rng = Rng::seeded(2);
    let nodes: Vec<_> = (0..8).map(|at| node(at, Id::random(&mut rng))).collect();
    let hashes: Vec<_> = (0..20).map(|_| Id::random(&mut rng)).collect();
    let values: Vec<_> = (0..40).map(addr).collect();
    let filters = ([0x55; krpc::FILTER_BYTES], [0xaa; krpc::FILTER_BYTES]);
    let plain = Reply { id: Id::random(&mut rng), ..Reply::default() };
    let token = Some(&b"12345678"[..]);
    let kinds = [
        ("ping", plain),
        ("find_node", Reply { nodes: Some(&nodes), ..plain }),
        ("get_peers", Reply { nodes: Some(&nodes), token, values: &values, ..plain }),
        ("sample_infohashes", Reply { nodes: Some(&nodes), samples: Some((600, 1_000, &hashes)), ..plain }),
        ("scrape", Reply { nodes: Some(&nodes), token, scrape: Some((&filters.0, &filters.1)), ..plain }),
    ];
    for (name, reply) in kinds {
        let mut out = [0; PACKET_MAX];
        group.bench_function(format!("encode {name}"), |b| {
            b.iter(|| krpc::write_reply(&mut out, b"abcd", addr(1), black_box(&reply)));
        });
        let len = krpc::write_reply(&mut out, b"abcd", addr(1), &reply).unwrap();
        assert!(read(&out[..len]) > 0 || name == "ping");
        group.bench_function(format!("decode {name}"), |b| b.iter(|| read(black_box(&out[..len]))));
    }
    group.finish();
}

/// The routing table of a node in a large network, full as far as it can be.
fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    let mut rng = Rng::seeded(3);
    let own = Id::random(&mut rng);
    let now = Instant::from_millis(1_000_000);
    let nodes: Vec<_> = (0..4_096).map(|at| node(at, own.random_at_depth(at % 21, &mut rng))).collect();
    let rules = Rules { one_per_ip: true, one_per_network: false, ..Rules::new(false) };
    let filled = |rng: &mut Rng| {
        let mut table = Table::new(own, rules, rng);
        nodes.iter().for_each(|node| _ = table.insert_verified(*node, now, Duration::from_millis(50)));
        table
    };
    group.throughput(Throughput::Elements(nodes.len() as u64));
    group.bench_function("insert 4,096, most of them refused", |b| {
        b.iter(|| filled(&mut Rng::seeded(4)).len())
    });
    group.throughput(Throughput::Elements(1));
    let table = filled(&mut rng);
    assert!(table.len() > 150, "{}", table.len());
    let targets: Vec<_> = (0..256).map(|_| Id::random(&mut rng)).collect();
    let mut out = [nodes[0]; K];
    let mut at = 0;
    group.bench_function("closest", |b| {
        b.iter(|| {
            at = (at + 1) % targets.len();
            table.closest(targets[at], &mut out, now)
        });
    });
    group.finish();
}

/// The peers that announced themselves, and their tokens.
fn announced(c: &mut Criterion) {
    let mut group = c.benchmark_group("announced");
    let mut rng = Rng::seeded(5);
    let now = Instant::from_millis(1_000_000);
    let mut peers = Peers::new(peers::Limits::default(), &mut rng);
    let hashes: Vec<_> = (0..1_000).map(|_| Id::random(&mut rng)).collect();
    for (at, hash) in hashes.iter().enumerate() {
        (0..20).for_each(|peer| peers.announce(*hash, addr(at as u32 * 20 + peer), false, now));
    }
    let mut at = 0;
    let mut next = move || {
        at = (at + 1) % 20_000;
        at
    };
    group.bench_function("announce again", |b| {
        b.iter(|| {
            let at = next();
            peers.announce(hashes[at / 20], addr(at as u32), false, now);
        });
    });
    let mut out = [addr(0); peers::VALUES_V4_MAX];
    group.bench_function("values, 20 peers", |b| {
        b.iter(|| peers.values(&hashes[next() / 20], false, false, now, &mut rng, &mut out));
    });
    let mut samples = [Id::default(); peers::SAMPLES_MAX];
    group.bench_function("sample", |b| b.iter(|| peers.sample(&mut rng, &mut samples)));
    let tokens = Tokens::new(now, &mut rng);
    let ip = addr(7).ip();
    group.bench_function("token issued and checked", |b| {
        b.iter(|| {
            let token = tokens.issue(black_box(ip), &hashes[0]);
            tokens.valid(&token, ip, &hashes[0], now)
        });
    });
    group.finish();
}

fn small_parts(c: &mut Criterion) {
    let mut rng = Rng::seeded(6);
    let mut bucket = TokenBucket::new(1_000_000, 1_000);
    let mut now = Instant::from_millis(1_000);
    c.bench_function("bucket: take one", |b| {
        b.iter(|| {
            now += Duration::from_nanos(900);
            bucket.take(now, 1)
        });
    });
    let mut limiter = Limiter::new(100, 500, &mut rng);
    let mut at = 0;
    c.bench_function("limiter: 65,536 addresses in turn", |b| {
        b.iter(|| {
            at = (at + 1) % 65_536;
            limiter.allow(addr(at).ip(), now)
        });
    });
    let (mut timers, mut slots) = (Timers::default(), Slots::<()>::default());
    let tokens: Vec<Token> = (0..10_000).map(|_| slots.insert(())).collect();
    let due = |rng: &mut Rng, now| now + Duration::from_micros(rng.below(4_000_000));
    tokens.iter().for_each(|token| timers.push(due(&mut rng, now), *token));
    c.bench_function("timers: push and pop among 10,000", |b| {
        b.iter(|| {
            let (at, token) = timers.pop_due(Instant::FAR).unwrap();
            now = at;
            timers.push(due(&mut rng, now), token);
        });
    });
}

fn known(c: &mut Criterion) {
    let mut rng = Rng::seeded(7);
    let hashes: Vec<_> = (0..1_000_000).map(|_| Id::random(&mut rng)).collect();
    let mut known = Known::new(&mut rng);
    hashes.iter().for_each(|hash| known.insert(hash));
    let strangers: Vec<_> = (0..65_536).map(|_| Id::random(&mut rng)).collect();
    let mut at = 0;
    let mut group = c.benchmark_group("known, a million");
    group.bench_function("contains, yes", |b| {
        b.iter(|| {
            at = (at + 7_919) % hashes.len();
            known.contains(&hashes[at])
        });
    });
    let mut at = 0;
    group.bench_function("contains, no", |b| {
        b.iter(|| {
            at = (at + 1) % strangers.len();
            known.contains(&strangers[at])
        });
    });
    group.finish();
}

/// From raw bytes to a torrent: one file, and two hundred.
fn metadata(c: &mut Criterion) {
    let mut group = c.benchmark_group("metadata");
    for files in [1, 200] {
        let raw = info(files);
        let asked = Id(hash::sha1(&raw));
        let proved = verify(asked, &raw).unwrap();
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function(format!("verify, {} KiB", raw.len() / 1024), |b| {
            b.iter(|| verify(asked, black_box(&raw)));
        });
        let heard = || Heard { first_seen: UnixTime(1), fetched: UnixTime(2), peers: 3 };
        assert_eq!(torrent::parse(raw.clone(), proved, heard()).unwrap().files.iter().count(), files);
        group.bench_function(format!("parse, {files} files"), |b| {
            b.iter_batched(
                || raw.clone(),
                |raw| torrent::parse(raw, proved, heard()).is_ok(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// A dictionary with as many pieces as its size asks for.
fn info(files: usize) -> Bytes {
    let mut raw = b"d".to_vec();
    let pieces = [7; 20].repeat(400 * files.min(10));
    if files > 1 {
        raw.extend_from_slice(b"5:filesl");
        for file in 0..files {
            let name = format!("{file:04} - A name as they are.flac");
            raw.extend_from_slice(
                format!("d6:lengthi{}e4:pathl7:Disc 01{}:{name}ee", 1_000_000 + file, name.len()).as_bytes(),
            );
        }
        raw.extend_from_slice(b"e");
    } else {
        raw.extend_from_slice(b"6:lengthi400000000e");
    }
    raw.extend_from_slice(b"4:name30:Some.Title.1999.1080p.x264.mkv12:piece lengthi1048576e");
    raw.extend_from_slice(format!("6:pieces{}:", pieces.len()).as_bytes());
    raw.extend_from_slice(&pieces);
    raw.push(b'e');
    raw.into()
}

/// Everything that the crawl looks at: how much there is.
fn read(packet: &[u8]) -> usize {
    let Ok(krpc::Message { body: krpc::Body::Response(response), .. }) = krpc::decode(packet) else {
        return 0;
    };
    let samples = response.samples.map_or(0, |samples| samples.hashes().count());
    response.nodes().count() + response.peers().count() + samples
}

fn node(at: u32, id: Id) -> NodeAddr {
    NodeAddr { id, addr: addr(at) }
}

/// No address is another's neighbour.
fn addr(at: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + at * 1_031)), 6_881)
}
