//! Connections at a time: so many for each who connects, and so many for all. One of them alone cannot take all.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The seats that there are, and who has how many.
#[derive(Debug)]
pub struct Seats<K: Eq + Hash> {
    each: usize,
    all: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A seat that somebody has, until it is dropped.
#[derive(Debug)]
pub struct Seat<K: Eq + Hash> {
    seats: Arc<Seats<K>>,
    whose: K,
}

impl<K: Eq + Hash + Clone> Seats<K> {
    /// `each` for one, `all` for everybody together.
    #[must_use]
    pub fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self {
            each,
            all,
            taken: Mutex::default(),
        })
    }

    /// A seat for `whose`; `None` when they have theirs already, or none is left.
    #[must_use]
    pub fn take(self: &Arc<Self>, whose: K) -> Option<Seat<K>> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&whose).copied().unwrap_or_default();
        if own >= self.each || all >= self.all {
            return None;
        }
        Some(self.seat(&mut taken, whose))
    }

    /// A seat for who is never refused; it counts for the others all the same.
    #[must_use]
    pub fn take_exempt(self: &Arc<Self>, whose: K) -> Seat<K> {
        self.seat(&mut self.lock(), whose)
    }

    fn seat(self: &Arc<Self>, taken: &mut HashMap<K, usize>, whose: K) -> Seat<K> {
        *taken.entry(whose.clone()).or_default() += 1;
        Seat {
            seats: Arc::clone(self),
            whose,
        }
    }
}

impl Seats<u32> {
    /// A seat for a user of this host; root is never refused.
    #[must_use]
    pub fn take_as_user(self: &Arc<Self>, uid: u32) -> Option<Seat<u32>> {
        if uid == 0 {
            return Some(self.take_exempt(uid));
        }
        self.take(uid)
    }
}

impl<K: Eq + Hash> Seats<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if let Some(own) = taken.get_mut(&self.whose) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

/// Whom an address stands for: whoever has one address of IPv6 has all that begin with the same 64 bits.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let first = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(first))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cannot_take_the_seats_of_all_and_what_is_given_back_can_be_taken() {
        let seats = Seats::new(2, 3);
        let first = seats.take("a").expect("a seat");
        let _second = seats.take("a").expect("a seat");
        assert!(seats.take("a").is_none());
        let _other = seats.take("b").expect("a seat");
        assert!(seats.take("c").is_none(), "all are taken");
        drop(first);
        let _third = seats.take("c").expect("a seat");
        assert!(seats.take("a").is_none());
    }

    #[test]
    fn root_is_never_refused() {
        let seats = Seats::new(1, 1);
        let _user = seats.take_as_user(1000).expect("a seat");
        assert!(seats.take_as_user(1001).is_none());
        let root: Vec<_> = (0..3).map(|_| seats.take_as_user(0)).collect();
        assert!(root.iter().all(Option::is_some));
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network_and_one_of_ipv4_for_itself() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
