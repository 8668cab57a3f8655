//! SCTP INIT packets built by hand, for kernels without SCTP sockets: what a filter on the way decides about them it
//! decides about SCTP. Nobody answers them; counters say whether they arrived.

use std::net::Ipv4Addr;

/// Length of the common header (RFC 9260, section 3.1) and an INIT chunk without parameters (section 3.3.2).
const PACKET: usize = 32;
/// The receiver window that the INIT offers, in bytes: at least 1500 by section 3.3.2.
const WINDOW: u32 = 65_536;

/// The INIT packet that opens an association. `tag` is the sender's verification tag and its initial sequence number;
/// zero is not allowed and becomes one.
pub(crate) fn init(source: u16, destination: u16, tag: u32) -> [u8; PACKET] {
    let tag = tag.max(1);
    // The verification tag of a packet with an INIT is zero; the checksum counts as zero while it is computed.
    let packet = assemble(source, destination, tag, 0);
    assemble(source, destination, tag, crc32c(&packet))
}

fn assemble(source: u16, destination: u16, tag: u32, checksum: u32) -> [u8; PACKET] {
    let mut bytes = [0; PACKET];
    let parts: [&[u8]; 10] = [
        &source.to_be_bytes(),
        &destination.to_be_bytes(),
        &[0; 4],
        // Appendix A: the sum goes out with its least significant byte first.
        &checksum.to_le_bytes(),
        // Chunk type INIT, no flags, length 20.
        &[1, 0, 0, 20],
        &tag.to_be_bytes(),
        &WINDOW.to_be_bytes(),
        // One stream each way.
        &[0, 1],
        &[0, 1],
        &tag.to_be_bytes(),
    ];
    for (byte, value) in bytes.iter_mut().zip(parts.concat()) {
        *byte = value;
    }
    bytes
}

/// CRC-32C (Castagnoli), bit by bit: there are 32 bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0x82F6_3B78;
            }
        }
    }
    !crc
}

/// The source port for the `n`th INIT of a source: from the dynamic range, so that none is taken for a service's.
pub(crate) fn source_port(n: usize) -> u16 {
    const FIRST: u16 = 49_152;
    const COUNT: usize = 16_384;
    u16::try_from(n.checked_rem(COUNT).unwrap_or_default()).map_or(FIRST, |offset| FIRST.saturating_add(offset))
}

/// A tag for an INIT to that address.
pub(crate) fn tag(destination: Ipv4Addr, port: u16) -> u32 {
    destination.to_bits().rotate_left(16) ^ u32::from(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }

    #[test]
    fn an_init_has_its_fields_where_the_standard_has_them() {
        let packet = init(0x1234, 80, 0);
        assert_eq!(packet[..8], [0x12, 0x34, 0, 80, 0, 0, 0, 0]);
        assert_eq!(packet[12..16], [1, 0, 0, 20]);
        assert_eq!(packet[16..20], [0, 0, 0, 1], "a tag of zero is not allowed");
        let mut unsummed = packet;
        unsummed[8..12].fill(0);
        assert_eq!(packet[8..12], crc32c(&unsummed).to_le_bytes());
    }
}
