use super::*;

#[test]
fn load_reads_now_and_says_it_once() {
    let setup = with("a/x", "one");
    assert_eq!(setup.list("x"), ["one"]);
    setup.write("a/x", "$include y");
    assert_eq!(setup.error("x"), "a/x:1: $include y: no such file");
    assert_eq!(setup.list_now("x"), ["one"]);
    assert!(setup.problems().is_empty());
    setup.write("a/x", "two");
    assert_eq!(texts(&setup.config.load("x").unwrap()), ["two"]);
    assert_eq!(setup.list("x"), ["two"]);
}

#[test]
fn a_change_is_seen_after_expire() {
    let setup = with("a/x", "one");
    let before = setup.config.list("x");
    setup.write("a/x", "two");
    setup.config.expire();
    let after = setup.config.list("x");
    assert_eq!((texts(&before), texts(&after)), (vec!["one".into()], vec!["two".into()]));
    assert!(!before.same(&after));
}

#[test]
fn a_change_is_not_seen_within_the_second() {
    let setup = with("a/x", "one");
    let (lists, search) = (&setup.config.0.lists, &setup.config.0.search);
    let start = Instant::now();
    let before = lists.get(search, "x", start);
    setup.write("a/x", "three");
    let within = lists.get(search, "x", start + std::time::Duration::from_millis(999));
    assert!(before.same(&within));
    let after = lists.get(search, "x", start + std::time::Duration::from_secs(1));
    assert_eq!(texts(&after), ["three"]);
}

#[test]
fn the_same_list_as_long_as_nothing_changes() {
    let setup = with("a/x", "one\n$include x.d");
    setup.write("a/x.d/1", "two");
    let before = setup.config.list("x");
    assert!(before.same(&setup.config.list("x")));
    setup.config.expire();
    assert!(before.same(&setup.config.list("x")));

    // The same lines in a new file are the same list too.
    setup.write("a/new", "one\n$include x.d\n");
    fs::rename(setup.path("a/new"), setup.path("a/x")).unwrap();
    setup.config.expire();
    assert!(before.same(&setup.config.list("x")));

    // At another place they are not: messages name the line.
    setup.write("a/x", "\none\n$include x.d\n");
    setup.config.expire();
    let after = setup.config.list("x");
    assert!(!before.same(&after));
    assert_eq!(texts(&before), texts(&after));
}

#[test]
fn changes_of_included_files_are_seen() {
    let setup = with("a/x", "$include y\n$include x.d\n");
    setup.write("b/y", "y");
    setup.write("b/x.d/1", "one");
    assert_eq!(setup.list("x"), ["y", "one"]);

    setup.write("b/y", "new y");
    assert_eq!(setup.list_now("x"), ["new y", "one"]);
    setup.write("b/x.d/1", "new one");
    assert_eq!(setup.list_now("x"), ["new y", "new one"]);
    setup.write("b/x.d/0", "zero");
    assert_eq!(setup.list_now("x"), ["new y", "zero", "new one"]);
    fs::remove_file(setup.path("b/x.d/1")).unwrap();
    assert_eq!(setup.list_now("x"), ["new y", "zero"]);
    // Now one in an earlier folder takes its place.
    setup.write("a/y", "y of a");
    assert_eq!(setup.list_now("x"), ["y of a", "zero"]);
    assert!(setup.problems().is_empty());
}

#[test]
fn the_last_good_lines_stay() {
    let setup = with("a/x", "good");
    let good = setup.config.list("x");
    setup.write("a/x", "$include y\n");
    for _ in 0..3 {
        setup.config.expire();
        assert!(good.same(&setup.config.list("x")));
    }
    assert_eq!(setup.problems(), ["a/x:1: $include y: no such file"]);

    setup.write("b/y", "$include x\n");
    for _ in 0..3 {
        setup.config.expire();
        assert!(good.same(&setup.config.list("x")));
    }
    assert_eq!(setup.problems(), ["b/y:1: $include goes round in a circle: a/x:1 -> b/y:1 -> a/x"]);

    setup.write("b/y", "better");
    assert_eq!(setup.list_now("x"), ["better"]);
    assert!(setup.problems().is_empty());

    // So do those of a file that is gone.
    fs::remove_file(setup.path("a/x")).unwrap();
    for _ in 0..3 {
        assert_eq!(setup.list_now("x"), ["better"]);
    }
    assert_eq!(setup.problems(), ["a/x: gone; its contents stay in use until the next HUP"]);
    setup.write("a/x", "back");
    assert_eq!(setup.list_now("x"), ["back"]);
    assert!(setup.problems().is_empty());

    // Or in whose place there is something else.
    fs::remove_file(setup.path("a/x")).unwrap();
    fs::create_dir(setup.path("a/x")).unwrap();
    assert_eq!(setup.list_now("x"), ["back"]);
    assert_eq!(setup.problems(), ["a/x: a folder, not a file"]);
}

/// What has no good answer yet must not be taken for an empty list.
#[test]
fn a_first_read_that_fails_is_empty_a_problem_and_unread() {
    let setup = with("a/x", "one\n$include y\ntwo\n");
    for _ in 0..3 {
        assert!(setup.list("x").is_empty());
        assert!(setup.config.take_unread() && !setup.config.take_unread());
    }
    assert_eq!(setup.problems(), ["a/x:2: $include y: no such file"]);
    assert!(setup.list("missing").is_empty() && !setup.config.take_unread());
    setup.write("b/y", "y");
    assert_eq!(setup.list_now("x"), ["one", "y", "two"]);
    assert!(!setup.config.take_unread());
    setup.write("a/x", "$include z\n");
    assert_eq!(setup.list_now("x"), ["one", "y", "two"]);
    assert!(!setup.config.take_unread());
}

/// A configuration that is read anew begins without the old lines, but knows what was in reach.
#[test]
fn anew_nothing_is_kept() {
    let setup = with("a/x", "one");
    setup.write("a/y", "two");
    assert_eq!((setup.list("x"), setup.list("y")), (vec!["one".into()], vec!["two".into()]));
    fs::remove_file(setup.path("a/x")).unwrap();
    assert!(setup.config.anew().load("x").unwrap().is_empty());
    assert_eq!(setup.list_now("x"), ["one"]);
    out_of_reach(&setup.path("a"), || {
        let error = setup.config.anew().load("y").unwrap_err();
        assert_eq!(setup.short(error), "a/y: Permission denied (os error 13)");
    });
}

#[test]
fn losing_access_is_not_losing_lines() {
    let setup = with("a/x", "$include y");
    setup.write("a/y", "kept");
    setup.write("b/x", "not this");
    setup.write_map("a/m.cdb", &[("key", "value")]);
    let before = setup.config.list("x");
    assert!(setup.config.map("m").contains("key"));
    assert!(setup.config.list("missing").is_empty());

    out_of_reach(&setup.path("a"), || {
        for _ in 0..3 {
            setup.config.expire();
            assert!(before.same(&setup.config.list("x")));
            assert!(setup.config.map("m").contains("key"));
            assert!(setup.config.list("missing").is_empty());
        }
        assert_eq!(
            setup.problems(),
            ["a/x: Permission denied (os error 13)", "a/m.cdb: Permission denied (os error 13)"]
        );
    });
    setup.config.expire();
    assert!(before.same(&setup.config.list("x")));
    assert!(setup.problems().is_empty());
}

#[test]
fn an_unreadable_file_is_a_problem() {
    let setup = with("a/x", "$include y\n");
    setup.write("a/y", "secret");
    setup.write("b/y", "not this");
    out_of_reach(&setup.path("a/y"), || {
        assert!(setup.list("x").is_empty());
        assert_eq!(setup.problems(), ["a/x:1: a/y: Permission denied (os error 13)"]);
        assert_eq!(setup.error("y"), "a/y: Permission denied (os error 13)");
        assert_eq!(setup.config.path("y"), Some(setup.path("a/y")));
    });
    assert_eq!(setup.list_now("x"), ["secret"]);
    assert_eq!(setup.list_now("y"), ["secret"]);
}

#[test]
fn an_unreadable_folder_keeps_its_lines() {
    let setup = with("a/x", "$include x.d\n");
    setup.write("a/x.d/1", "one");
    let before = setup.config.list("x");
    out_of_reach(&setup.path("a/x.d"), || {
        setup.config.expire();
        assert!(before.same(&setup.config.list("x")));
        assert_eq!(setup.problems(), ["a/x:1: a/x.d: Permission denied (os error 13)"]);
    });
    assert_eq!(setup.list_now("x"), ["one"]);
}

#[test]
fn a_file_that_has_gone_out_of_reach_is_an_error_for_who_reads_all_anew() {
    let setup = with("a/x", "of a");
    assert_eq!(setup.list("x"), ["of a"]);
    out_of_reach(&setup.path("a"), || {
        let (lines, errors) = setup.config.anew().load_what_can_be("x");
        assert!(lines.is_empty());
        let errors: Vec<_> = errors.iter().map(|error| setup.short(error)).collect();
        assert_eq!(errors, ["a/x: Permission denied (os error 13)"]);
    });
}

#[test]
fn a_folder_that_was_never_in_reach_is_passed_over() {
    let setup = with("a/x", "of a");
    setup.write("b/x", "of b");
    out_of_reach(&setup.path("a"), || {
        assert_eq!(setup.list("x"), ["of b"]);
        assert_eq!(setup.config.path("x"), Some(setup.path("b/x")));
    });
    assert!(setup.problems().is_empty());
    assert_eq!(setup.list_now("x"), ["of a"]);
}

#[test]
fn refresh_looks_at_everything() {
    let setup = with("a/x", "one");
    setup.write_map("a/m.cdb", &[]);
    assert_eq!(setup.list("x"), ["one"]);
    assert!(!setup.config.map("m").contains("key"));
    assert!(!setup.config.exists("y"));
    setup.write("a/x", "two");
    setup.write("a/y", "");
    setup.write_map("a/m.cdb", &[("key", "value")]);
    setup.config.refresh();
    assert_eq!(setup.list("x"), ["two"]);
    assert!(setup.config.map("m").contains("key"));
    assert!(setup.config.exists("y"));
}

#[test]
fn derived_follows_the_file() {
    let setup = with("a/x", "1\n2\n");
    let sum: Derived<u32> =
        Derived::new("x", |lines| lines.iter().filter_map(|text| text.parse::<u32>().ok()).sum());
    let first = sum.of(&setup.config.list(sum.name()));
    assert_eq!(*first, 3);
    setup.write("a/x", "# the same, further down\n1\n2\n");
    setup.config.expire();
    assert!(Rc::ptr_eq(&first, &sum.of(&setup.config.list(sum.name()))));
    setup.write("a/x", "1\n2\n4\n");
    setup.config.expire();
    assert_eq!(*sum.of(&setup.config.list(sum.name())), 7);
}
