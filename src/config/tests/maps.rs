use super::*;

#[test]
fn maps() {
    let setup = setup();
    assert_eq!(setup.config.map("m").get(b"one"), None);

    setup.write_map("b/m.cdb", &[("one", "1"), ("one", "2"), ("Empty", "")]);
    setup.config.expire();
    let map = setup.config.map("m");
    assert_eq!(map.get(b"one"), Some(b"1".to_vec()));
    assert_eq!(map.get(b"Empty"), Some(Vec::new()));
    assert!(map.contains("Empty") && !map.contains("empty") && !map.contains("two"));

    // The list of that name is another matter.
    assert!(setup.config.list("m").is_empty());

    setup.write_map("b/m.cdb", &[("two", "2")]);
    setup.config.expire();
    assert!(!setup.config.map("m").contains("one") && setup.config.map("m").contains("two"));
    assert!(map.contains("one"), "the one at hand stays as it was");

    fs::remove_file(setup.path("b/m.cdb")).unwrap();
    setup.config.expire();
    assert!(setup.config.map("m").contains("two"));
    assert_eq!(setup.problems(), ["b/m.cdb: gone; its contents stay in use until the next HUP"]);
    assert!(!setup.config.anew().map("m").contains("two"));
}

#[test]
fn a_damaged_map_is_a_problem() {
    let setup = setup();
    setup.write_map("a/m.cdb", &[("key", "value")]);
    assert!(setup.config.map("m").contains("key"));

    // Too short to be one: the last good one stays.
    setup.write("a/new", "not a database");
    fs::rename(setup.path("a/new"), setup.path("a/m.cdb")).unwrap();
    for _ in 0..3 {
        setup.config.expire();
        assert!(setup.config.map("m").contains("key"));
    }
    let problems = setup.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("a/m.cdb: "), "{problems:?}");

    // Long enough, but its tables point behind its end.
    setup.write("a/new", [0xff; 2048]);
    fs::rename(setup.path("a/new"), setup.path("a/m.cdb")).unwrap();
    setup.config.expire();
    let map = setup.config.map("m");
    for _ in 0..3 {
        assert_eq!(map.get(b"key"), None);
    }
    let problems = setup.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("a/m.cdb: "), "{problems:?}");
}
