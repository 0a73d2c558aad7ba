//! An input that is several things.

/// What is before the first octet 0, and what is behind it.
pub(super) fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    let zero = input.iter().position(|octet| *octet == 0);
    zero.map_or((input, &[]), |zero| (&input[..zero], &input[zero + 1..]))
}
