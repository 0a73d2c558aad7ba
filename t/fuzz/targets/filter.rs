#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qpsmtpd::fuzzing::run("filter", input));
