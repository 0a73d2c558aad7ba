use super::*;

#[test]
fn trims_and_drops_comments() {
    let setup = with("a/x", "\n  one two \t\r\n#no\n \t # no\n   \nthree # stays\n\nlast");
    let lines = setup.config.list("x");
    assert_eq!(texts(&lines), ["one two", "three # stays", "last"]);
    assert_eq!((lines.len(), lines.is_empty(), lines.first()), (3, false, Some("one two")));
    let places: Vec<_> = lines.entries().map(|line| (&*line.file, line.number)).collect();
    let path = setup.path("a/x");
    assert_eq!(places, [(&*path, 2), (&*path, 6), (&*path, 8)]);
}

#[test]
fn nothing_is_empty() {
    let setup = with("a/x", "# only a comment\n");
    for name in ["x", "missing", "", "y\0z"] {
        let lines = setup.config.list(name);
        assert_eq!((lines.len(), lines.is_empty(), lines.first()), (0, true, None), "{name:?}");
        assert_eq!(setup.config.value(name), None);
        assert!(setup.config.load(name).unwrap().is_empty());
    }
    assert!(setup.problems().is_empty());
}

/// What editors of other systems put in front is no part of the first line.
#[test]
fn a_byte_order_mark_is_left_out() {
    let setup = with("a/x", b"\xef\xbb\xbfexample.com\r\nexample.net\r\n");
    assert_eq!(setup.list("x"), ["example.com", "example.net"]);
    assert!(setup.problems().is_empty());
    setup.write("a/x", b"\xff\xfea\0");
    assert_eq!(setup.list_now("x"), ["example.com", "example.net"]);
    assert_eq!(setup.problems(), ["a/x: UTF-16, not UTF-8"]);
}

#[test]
fn bytes_that_are_no_utf_8_are_replaced_and_their_line_is_named() {
    let setup = with("a/x", b"# caf\xe9\ncaf\xe9 au lait\nna\xc3\xafve\n$include y\n");
    setup.write("b/y", b"caf\xe9 cr\xe8me\n");
    let texts = ["caf\u{fffd} au lait", "na\u{ef}ve", "caf\u{fffd} cr\u{fffd}me"];
    assert_eq!(setup.list("x"), texts);
    setup.config.load("x").unwrap();
    let why = "not UTF-8: in a list, nothing matches it";
    assert_eq!(setup.problems(), [format!("a/x:2: {why}"), format!("b/y:1: {why}")]);
    assert_eq!(setup.list_now("x"), texts);
}

#[test]
fn includes_stand_where_they_are_named() {
    let setup = with("a/x", "first\n  $include  y \nlast\n");
    setup.write("b/y", "# comment\ny1\n$include sub/z\ny2");
    setup.write("a/sub/z", "z1\n\nz2\n");
    let lines = setup.config.load("x").unwrap();
    assert_eq!(texts(&lines), ["first", "y1", "z1", "z2", "y2", "last"]);
    let places: Vec<_> = lines
        .entries()
        .map(|line| setup.short(format!("{}:{}", line.file.display(), line.number)))
        .collect();
    assert_eq!(places, ["a/x:1", "b/y:2", "a/sub/z:1", "a/sub/z:3", "b/y:4", "a/x:3"]);
}

#[test]
fn includes_by_absolute_path() {
    let setup = setup();
    setup.write("elsewhere", "there");
    setup.write("a/elsewhere", "not this");
    setup.write("a/x", format!("$include {}\n", setup.path("elsewhere").display()));
    assert_eq!(setup.list("x"), ["there"]);
}

#[test]
fn includes_a_folder_in_the_order_of_names() {
    let setup = with("a/x", "before\n$include x.d\nafter");
    let included = ["10", "9", "B", "Z.conf", "a", "\u{e4}"];
    let left = [".hidden", "a~", "a.dpkg-old", "a.dpkg-dist", "a.rpmnew", "a.rpmsave"];
    for name in included.iter().rev().chain(&left) {
        setup.write(&format!("b/x.d/{name}"), format!("{name}\n"));
    }
    setup.write("b/x.d/folder/inner", "not this");
    symlink("nowhere", setup.path("b/x.d/dangling")).unwrap();
    assert_eq!(setup.list("x"), ["before", "10", "9", "B", "Z.conf", "a", "\u{e4}", "after"]);
    assert!(setup.problems().is_empty());
}

#[test]
fn the_same_file_twice_is_no_circle() {
    let setup = with("a/x", "$include y\n$include y\n$include z");
    setup.write("a/y", "$include z");
    setup.write("a/z", "z");
    assert_eq!(setup.list("x"), ["z", "z", "z"]);
}

#[test]
fn circles_are_errors() {
    let setup = with("a/x", "one\n$include x\n");
    let circle = "$include goes round in a circle";
    assert_eq!(setup.error("x"), format!("a/x:2: {circle}: a/x:2 -> a/x"));

    setup.write("a/x", "$include y\n");
    setup.write("b/y", "\n$include z.d\n");
    setup.write("b/z.d/1", "fine\n");
    setup.write("b/z.d/2", "\n\n$include x\n");
    assert_eq!(
        setup.error("x"),
        format!("b/z.d/2:3: {circle}: a/x:1 -> b/y:2 -> b/z.d/2:3 -> a/x")
    );
    assert_eq!(setup.error("y"), format!("a/x:1: {circle}: b/y:2 -> b/z.d/2:3 -> a/x:1 -> b/y"));

    // Under another name it is still the same file.
    symlink("x", setup.path("a/alias")).unwrap();
    setup.write("a/x", "$include alias\n");
    assert_eq!(setup.error("x"), format!("a/x:1: {circle}: a/x:1 -> a/alias"));
}

#[test]
fn a_missing_include_is_an_error() {
    let setup = with("a/x", "one\n\n$include y\n");
    assert_eq!(setup.error("x"), "a/x:3: $include y: no such file");
    setup.write("a/x", "$include /no/such/file\n");
    assert_eq!(setup.error("x"), "a/x:1: $include /no/such/file: no such file");
    setup.write("a/x", "$include z\n");
    setup.write("b/z", "\n$include y\n");
    assert_eq!(setup.error("x"), "b/z:2: $include y: no such file");

    setup.write("b/y", "found");
    assert_eq!(texts(&setup.config.load("x").unwrap()), ["found"]);
}

#[test]
fn an_include_takes_one_name() {
    let setup = with("a/x", "$include\n");
    assert_eq!(setup.error("x"), "a/x:1: $include takes one name");
    setup.write("a/x", "ok\n$include y z\n");
    assert_eq!(setup.error("x"), "a/x:2: $include takes one name");
    setup.write("a/x", "$included\n");
    assert_eq!(texts(&setup.config.load("x").unwrap()), ["$included"]);
}

#[test]
fn an_include_that_is_no_file_is_an_error() {
    let setup = with("a/x", "$include /dev/null\n");
    assert_eq!(setup.error("x"), "a/x:1: /dev/null: not a plain file");
    symlink("y", setup.path("a/y")).unwrap();
    setup.write("a/x", "$include y\n");
    let error = setup.error("x");
    assert!(error.starts_with("a/x:1: a/y: "), "{error}");
}

#[test]
fn finds_by_the_first_word() {
    // Short lists are scanned, long ones have an index: both find the same.
    for filling in [0, 20] {
        let mut values: Vec<String> = (0..filling).map(|n| format!("filler{n} x")).collect();
        values.extend(
            ["Example.COM  first", "example.com second", "", "\u{c4}b\tc", "word"]
                .map(String::from),
        );
        let lines = Lines::from_values(values);
        assert!(!lines.is_indexed());
        assert_eq!(lines.find("example.com"), Some("Example.COM  first"));
        assert_eq!(lines.is_indexed(), filling > 0);
        assert_eq!(lines.find("EXAMPLE.com"), Some("Example.COM  first"));
        assert_eq!(lines.find("WORD"), Some("word"));
        assert_eq!(lines.find("\u{c4}B"), Some("\u{c4}b\tc"));
        assert_eq!(lines.find("\u{e4}b"), None, "only ASCII letters have two cases");
        for word in ["", "example", "example.com  first", "first", "example.com "] {
            assert_eq!(lines.find(word), None, "{word:?}");
        }
    }
}

#[test]
fn a_hundred_thousand_lines() {
    let text: String = (0..100_000).map(|n| format!("user{n}@Example.com text {n}\n")).collect();
    let setup = with("a/x", text);
    let lines = setup.config.list("x");
    assert_eq!(lines.len(), 100_000);
    for n in (0..100_000).step_by(7) {
        let found = lines.find(&format!("USER{n}@example.COM"));
        assert_eq!(found, Some(format!("user{n}@Example.com text {n}").as_str()));
    }
    assert_eq!(lines.find("user100000@example.com"), None);
    assert!(lines.same(&setup.config.list("x")));
}

#[test]
fn values_are_lines() {
    let lines = Lines::from_values(vec!["# kept".into(), " as it is ".into()]);
    assert_eq!(texts(&lines), ["# kept", " as it is "]);
    let places: Vec<_> = lines.entries().map(|line| (&*line.file, line.number)).collect();
    let hook = Path::new("config hook");
    assert_eq!(places, [(hook, 1), (hook, 2)]);
    assert!(lines.same(&lines.clone()));
    assert!(!lines.same(&Lines::from_values(texts(&lines))));
}
