//! The machine's name, its interfaces and its routes.

use crate::model::{DefaultRoute, Interface};

#[cfg(target_os = "linux")]
mod routes;

/// The machine's name (`gethostname`).
#[cfg(unix)]
pub fn hostname() -> Option<String> {
    let mut name = [0_u8; HOSTNAME_BYTES_MAX];
    // SAFETY: the buffer lives through the call, and the length given is its own but for the last
    // byte, so that a name that fills it still ends.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let len = name.iter().position(|byte| *byte == 0)?;
    (result == 0 && len > 0).then(|| String::from_utf8_lossy(&name[..len]).into_owned())
}

/// The machine's name, which Windows has in the environment.
#[cfg(not(unix))]
pub fn hostname() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// Every interface, those without an address too (`getifaddrs`).
#[cfg(unix)]
pub fn interfaces() -> Option<Vec<Interface>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: `first` lives through the call, which sets it to a list that is ours to free.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return None;
    }
    let mut found: Vec<Interface> = Vec::new();
    let mut next = first;
    // SAFETY: every pointer of the list is null or valid until `freeifaddrs`.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: the name is a string that ends in a zero byte and lives as long as the list.
        let name = unsafe { std::ffi::CStr::from_ptr(entry.ifa_name) }.to_string_lossy();
        let at = found.iter().position(|interface| interface.name == name).unwrap_or_else(|| {
            let flags = entry.ifa_flags as libc::c_int;
            let both = libc::IFF_UP | libc::IFF_RUNNING;
            let up = flags & both == both;
            let loopback = flags & libc::IFF_LOOPBACK != 0;
            found.push(Interface { name: name.into_owned(), up, loopback, addresses: Vec::new() });
            found.len() - 1
        });
        if let Some((family, ip)) = unix::address(entry.ifa_addr) {
            let prefix_bits = unix::of_family(entry.ifa_netmask, family).map_or(0, unix::ones);
            found[at].addresses.push(crate::model::InterfaceAddress { ip, prefix_bits });
        }
    }
    // SAFETY: the list came from `getifaddrs`, and nothing points into it any more.
    unsafe { libc::freeifaddrs(first) };
    Some(found)
}

/// Every interface that has an address.
#[cfg(not(unix))]
pub fn interfaces() -> Option<Vec<Interface>> {
    use if_addrs::IfAddr;

    let mut found: Vec<Interface> = Vec::new();
    for one in if_addrs::get_if_addrs().ok()? {
        let prefix_bits = match &one.addr {
            IfAddr::V4(addr) => addr.prefixlen,
            IfAddr::V6(addr) => addr.prefixlen,
        };
        let address = crate::model::InterfaceAddress { ip: one.ip(), prefix_bits };
        match found.iter_mut().find(|interface| interface.name == one.name) {
            Some(interface) => interface.addresses.push(address),
            None => found.push(Interface {
                up: one.is_oper_up(),
                loopback: one.is_loopback(),
                name: one.name,
                addresses: vec![address],
            }),
        }
    }
    Some(found)
}

/// The default routes, the preferred first.
#[cfg(target_os = "linux")]
pub fn default_routes() -> Option<Vec<DefaultRoute>> {
    routes::default_routes()
}

/// Other systems tell by means that differ from one to the next.
#[cfg(not(target_os = "linux"))]
pub fn default_routes() -> Option<Vec<DefaultRoute>> {
    None
}

#[cfg(unix)]
mod unix {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    /// The family and the IP address in a socket address; `None` if it is null or of another family.
    pub(super) fn address(addr: *const libc::sockaddr) -> Option<(libc::c_int, IpAddr)> {
        // SAFETY: the pointer is null, or to a socket address, which begins with its family.
        let family = libc::c_int::from(unsafe { addr.as_ref() }?.sa_family);
        Some((family, of_family(addr, family)?))
    }

    /// The IP address in a socket address of this family, whatever it says itself: masks need not
    /// say, and may end after their last byte that is not zero.
    pub(super) fn of_family(addr: *const libc::sockaddr, family: libc::c_int) -> Option<IpAddr> {
        if addr.is_null() {
            return None;
        }
        match family {
            libc::AF_INET => {
                let inner: libc::sockaddr_in = padded(addr);
                Some(Ipv4Addr::from(inner.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let inner: libc::sockaddr_in6 = padded(addr);
                Some(Ipv6Addr::from(inner.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }

    /// A copy, with zeros where the original has ended. `T` is one of the two kinds of socket address.
    fn padded<T>(addr: *const libc::sockaddr) -> T {
        let mut copy = std::mem::MaybeUninit::<T>::zeroed();
        let len = len(addr).min(size_of::<T>());
        // SAFETY: `len` bytes are there on both sides, which do not overlap. Both kinds of socket
        // address are plain numbers, for which any bytes will do.
        unsafe {
            std::ptr::copy_nonoverlapping(addr.cast::<u8>(), copy.as_mut_ptr().cast(), len);
            copy.assume_init()
        }
    }

    /// The length that a socket address has.
    #[cfg(any(
        target_vendor = "apple",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    ))]
    fn len(addr: *const libc::sockaddr) -> usize {
        // SAFETY: the caller's pointer is not null, and a socket address begins with its length here.
        usize::from(unsafe { (*addr).sa_len })
    }

    /// The length that a socket address has: that of its family.
    #[cfg(not(any(
        target_vendor = "apple",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    )))]
    fn len(_addr: *const libc::sockaddr) -> usize {
        usize::MAX
    }

    pub(super) fn ones(mask: IpAddr) -> u8 {
        (match mask {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        }) as u8
    }
}

/// POSIX wants room for 255 bytes (`_POSIX_HOST_NAME_MAX`) and the zero byte behind them.
#[cfg(unix)]
const HOSTNAME_BYTES_MAX: usize = 256;
