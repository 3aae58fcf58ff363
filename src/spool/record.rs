//! How records lie in a segment: length, checksum, tenant, body; and how much of a file can be believed.

use tributary_entity::ids::TenantId;
use uuid::Uuid;

/// What is kept: some bytes of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub tenant_id: TenantId,
    pub body: Vec<u8>,
}

/// Begins every segment; another layout gets another one.
pub(super) const MAGIC: &[u8; 8] = b"TRIBSPL1";
/// Length and checksum.
const HEAD: usize = 8;
const TENANT: usize = 16;
/// Longer than any record: a length beyond is no length.
const PAYLOAD_MAX: usize = 1 << 20;

/// What follows the last record that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// A record whose writing was cut off, before anybody was told that it is kept.
    Torn,
    /// Something that was written whole and is so no longer.
    Damaged,
}

/// A record as it lies in the file; none when it is too long.
pub(super) fn encode(record: &Record) -> Option<Vec<u8>> {
    let length = TENANT + record.body.len();
    if length > PAYLOAD_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEAD + length);
    bytes.extend(u32::try_from(length).ok()?.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(record.tenant_id.uuid().as_bytes());
    bytes.extend(&record.body);
    let checksum = crc32fast::hash(&bytes[HEAD..]);
    bytes[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
    Some(bytes)
}

/// The records of a segment, up to the first that cannot be believed.
pub(super) fn decode(segment: &[u8]) -> (Vec<Record>, Rest) {
    let mut records = Vec::new();
    let Some(mut rest) = segment.strip_prefix(MAGIC) else {
        // A file that was made and not yet begun.
        return (records, if is_torn(segment, MAGIC.len()) { Rest::Torn } else { Rest::Damaged });
    };
    while let Some((record, behind)) = split_record(rest) {
        records.push(record);
        rest = behind;
    }
    let after = match length_of(rest) {
        _ if rest.is_empty() => Rest::Nothing,
        Some(length) if is_torn(rest, HEAD + length) => Rest::Torn,
        None if is_torn(rest, HEAD) => Rest::Torn,
        _ => Rest::Damaged,
    };
    (records, after)
}

/// Whether bytes are what a write that was cut off leaves: too few of them, or room that was never filled.
fn is_torn(bytes: &[u8], wanted: usize) -> bool {
    bytes.len() < wanted || bytes.iter().all(|byte| *byte == 0)
}

/// The payload's length that stands at the beginning, if one stands there.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    (bytes.len() >= HEAD && (TENANT..=PAYLOAD_MAX).contains(&length)).then_some(length)
}

fn split_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let length = length_of(bytes)?;
    let (head, rest) = bytes.split_at(HEAD);
    let (payload, rest) = rest.split_at_checked(length)?;
    let checksum = crc32fast::hash(payload).to_le_bytes();
    let (tenant, body) = payload.split_first_chunk::<TENANT>()?;
    let record = Record { tenant_id: TenantId::from_uuid(Uuid::from_bytes(*tenant)), body: body.to_vec() };
    (head[4..] == checksum).then_some((record, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(bodies: &[Vec<u8>]) -> (Vec<Record>, Vec<u8>) {
        let records: Vec<Record> = bodies
            .iter()
            .enumerate()
            .map(|(number, body)| Record {
                tenant_id: TenantId::from_uuid(Uuid::from_u128(number as u128 + 1)),
                body: body.clone(),
            })
            .collect();
        let mut bytes = MAGIC.to_vec();
        for record in &records {
            bytes.extend(encode(record).expect("short enough"));
        }
        (records, bytes)
    }

    proptest! {
        #[test]
        fn records_read_back_as_written(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let (records, bytes) = segment(&bodies);
            prop_assert_eq!(decode(&bytes), (records, Rest::Nothing));
        }

        #[test]
        fn segment_that_is_cut_anywhere_keeps_its_whole_records(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8), cut in any::<prop::sample::Index>(), zeros in 0..64_usize,
        ) {
            let (records, bytes) = segment(&bodies);
            let cut = cut.index(bytes.len());
            let mut torn = bytes[..cut].to_vec();
            let (kept, rest) = decode(&torn);
            prop_assert_eq!(&kept[..], &records[..kept.len()]);
            prop_assert!(rest != Rest::Damaged, "a cut is no damage");
            // As a file system leaves it that had grown the file already: at a record's end, zeros follow.
            if rest == Rest::Nothing {
                torn.extend(vec![0; zeros]);
                let (again, rest) = decode(&torn);
                prop_assert_eq!(again, kept);
                prop_assert_eq!(rest, if zeros == 0 { Rest::Nothing } else { Rest::Torn });
            }
        }

        #[test]
        fn changed_byte_is_noticed(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8), at in any::<prop::sample::Index>(), change in 1..=255_u8,
        ) {
            let (records, mut bytes) = segment(&bodies);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let (kept, rest) = decode(&bytes);
            prop_assert!(kept.len() < records.len() && rest != Rest::Nothing);
            prop_assert_eq!(&kept[..], &records[..kept.len()]);
        }
    }

    #[test]
    fn record_that_is_too_long_is_not_taken() {
        let record = Record { tenant_id: TenantId::default(), body: vec![0; PAYLOAD_MAX] };
        assert_eq!(encode(&record), None);
    }
}
