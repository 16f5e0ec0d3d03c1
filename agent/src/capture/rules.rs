//! Which destinations are governed, and the kernel's table of them.

use std::{collections::BTreeMap, net::IpAddr};

use agent_ebpf::{PORT_BITS, RULE_EXCLUDED, RULE_GOVERNED, RuleKey, RuleValue};
use aya::maps::{LpmTrie, MapData, lpm_trie::Key};

use super::{CaptureError, Cidr, cidr::ANY};

/// The destinations of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRule {
    /// Comes back as [`super::Origin::endpoint`].
    pub id: u32,
    /// The ports it listens on.
    pub ports: Vec<u16>,
    /// Its addresses. None means any address: an endpoint whose host names do not resolve must be
    /// left out by the caller, not given without addresses.
    pub cidrs: Vec<Cidr>,
    /// Addresses that are left alone even so. Another endpoint may still govern them.
    pub exclude: Vec<Cidr>,
}

/// Entries of the kernel's table, by port, address and prefix length.
pub(super) type Entries = BTreeMap<Entry, RuleValue>;

/// One key of the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    port: u16,
    address: [u8; 16],
    /// Of the address alone.
    bits: u8,
}

impl Entry {
    fn new(port: u16, cidr: Cidr) -> Self {
        Self {
            port,
            address: cidr.address.octets(),
            bits: cidr.bits,
        }
    }

    fn key(self) -> Key<RuleKey> {
        Key::new(
            PORT_BITS + u32::from(self.bits),
            RuleKey {
                port: self.port.to_be_bytes(),
                reserved: [0; 2],
                address: self.address,
            },
        )
    }

    fn of(key: &Key<RuleKey>) -> Self {
        let data = key.data();
        let bits = key.prefix_len().saturating_sub(PORT_BITS);
        Self {
            port: u16::from_be_bytes(data.port),
            address: data.address,
            bits: u8::try_from(bits).unwrap_or(u8::MAX),
        }
    }
}

/// The table for these rules: the longest prefix of a destination decides. Where two endpoints
/// govern the very same range, the first one has it.
pub(super) fn compile(rules: &[EndpointRule]) -> Entries {
    let mut entries = Entries::new();
    for rule in rules {
        for (port, cidr) in pairs(rule, ranges(rule)) {
            let governed = RuleValue {
                endpoint: rule.id,
                verdict: RULE_GOVERNED,
            };
            entries.entry(Entry::new(port, cidr)).or_insert(governed);
        }
    }
    for rule in rules {
        for (port, cidr) in pairs(rule, &rule.exclude) {
            let others = rules
                .iter()
                .filter(|other| other.id != rule.id && other.ports.contains(&port));
            let other = others
                .filter_map(|other| Some((governing(other, cidr)?.bits, other.id)))
                .max_by_key(|(bits, id)| (*bits, std::cmp::Reverse(*id)));
            let value = match other {
                Some((_, endpoint)) => RuleValue {
                    endpoint,
                    verdict: RULE_GOVERNED,
                },
                None => RuleValue {
                    endpoint: rule.id,
                    verdict: RULE_EXCLUDED,
                },
            };
            entries.insert(Entry::new(port, cidr), value);
        }
    }
    entries
}

/// The range by which a rule governs all of `cidr`, unless a closer one excludes it again.
fn governing(rule: &EndpointRule, cidr: Cidr) -> Option<Cidr> {
    let closest = |ranges: &[Cidr]| {
        let containing = ranges.iter().filter(|range| range.contains(cidr));
        containing.max_by_key(|range| range.bits).copied()
    };
    let range = closest(ranges(rule))?;
    let is_excluded = closest(&rule.exclude).is_some_and(|exclude| exclude.bits >= range.bits);
    (!is_excluded).then_some(range)
}

fn ranges(rule: &EndpointRule) -> &[Cidr] {
    if rule.cidrs.is_empty() {
        &[ANY]
    } else {
        &rule.cidrs
    }
}

fn pairs<'a>(rule: &'a EndpointRule, cidrs: &'a [Cidr]) -> impl Iterator<Item = (u16, Cidr)> + 'a {
    rule.ports
        .iter()
        .flat_map(move |port| cidrs.iter().map(move |cidr| (*port, *cidr)))
}

/// The kernel's table.
#[derive(Debug)]
pub(super) struct Table(pub(super) LpmTrie<MapData, RuleKey, RuleValue>);

impl Table {
    /// Makes the table hold exactly `entries`: new ones first, so that nothing governed slips through.
    pub(super) fn replace(&mut self, entries: &Entries) -> Result<(), CaptureError> {
        if entries.len() > agent_ebpf::RULES_ENTRIES {
            return Err(CaptureError::TooManyRules {
                entries: entries.len(),
                room: agent_ebpf::RULES_ENTRIES,
            });
        }
        let present: Vec<Key<RuleKey>> = self
            .0
            .keys()
            .collect::<Result<_, _>>()
            .map_err(CaptureError::map("list the rules in the kernel"))?;
        for (entry, value) in entries {
            self.0
                .insert(&entry.key(), value, 0)
                .map_err(CaptureError::map("write a rule into the kernel"))?;
        }
        for key in present {
            if !entries.contains_key(&Entry::of(&key)) {
                self.0
                    .remove(&key)
                    .map_err(CaptureError::map("remove a rule from the kernel"))?;
            }
        }
        Ok(())
    }

    /// The endpoint that governs a destination.
    pub(super) fn endpoint(&self, address: IpAddr, port: u16) -> Option<u32> {
        let entry = Entry::new(port, address.into());
        let value = self.0.get(&entry.key(), 0).ok()?;
        (value.verdict == RULE_GOVERNED).then_some(value.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a range")
    }

    fn rule(id: u32, cidrs: &[&str], exclude: &[&str]) -> EndpointRule {
        EndpointRule {
            id,
            ports: vec![5432],
            cidrs: cidrs.iter().map(|text| cidr(text)).collect(),
            exclude: exclude.iter().map(|text| cidr(text)).collect(),
        }
    }

    /// What the kernel's longest-prefix match answers.
    fn lookup(entries: &Entries, address: &str) -> Option<u32> {
        let address = cidr(address);
        let (_, value) = entries
            .iter()
            .filter(|(entry, _)| {
                Cidr {
                    address: entry.address.into(),
                    bits: entry.bits,
                }
                .contains(address)
            })
            .max_by_key(|(entry, _)| entry.bits)?;
        (value.verdict == RULE_GOVERNED).then_some(value.endpoint)
    }

    #[test]
    fn an_exclude_inside_a_governed_range_wins() {
        let entries = compile(&[rule(1, &["10.0.0.0/8"], &["10.1.0.0/16"])]);
        assert_eq!(lookup(&entries, "10.2.0.1"), Some(1));
        assert_eq!(lookup(&entries, "10.1.0.1"), None);
        assert_eq!(lookup(&entries, "11.0.0.1"), None);
    }

    #[test]
    fn no_addresses_mean_any_address_of_both_families() {
        let entries = compile(&[rule(7, &[], &["127.0.0.2/32"])]);
        assert_eq!(lookup(&entries, "203.0.113.9"), Some(7));
        assert_eq!(lookup(&entries, "2001:db8::1"), Some(7));
        assert_eq!(lookup(&entries, "127.0.0.2"), None);
    }

    #[test]
    fn what_one_endpoint_excludes_another_may_govern() {
        let entries = compile(&[
            rule(1, &["10.0.0.0/8"], &["10.1.0.0/16"]),
            rule(2, &[], &[]),
        ]);
        assert_eq!(lookup(&entries, "10.1.0.1"), Some(2));
        assert_eq!(lookup(&entries, "10.2.0.1"), Some(1));
    }

    #[test]
    fn an_excluded_range_of_all_is_governed_by_none() {
        let entries = compile(&[
            rule(1, &["10.0.0.0/8"], &["10.1.0.0/16"]),
            rule(2, &[], &["10.1.0.0/16"]),
        ]);
        assert_eq!(lookup(&entries, "10.1.0.1"), None);
    }

    #[test]
    fn the_first_endpoint_has_a_range_that_two_claim() {
        let entries = compile(&[rule(3, &["10.0.0.0/8"], &[]), rule(2, &["10.0.0.0/8"], &[])]);
        assert_eq!(lookup(&entries, "10.1.0.1"), Some(3));
    }
}
