use super::*;

/// path, user, host, path on the wire
const GOOD: &[(&str, &str, &str, &str)] = &[
    ("<>", "", "", "<>"),
    ("<a@example.net>", "a", "example.net", "<a@example.net>"),
    ("<A.b@Example.NET>", "A.b", "Example.NET", "<A.b@Example.NET>"),
    ("<a@localhost>", "a", "localhost", "<a@localhost>"),
    ("<a@1.2.3.4>", "a", "1.2.3.4", "<a@1.2.3.4>"),
    ("<a@my_host._x.test>", "a", "my_host._x.test", "<a@my_host._x.test>"),
    ("<a@b--c.test>", "a", "b--c.test", "<a@b--c.test>"),
    ("<-a-@b.test>", "-a-", "b.test", "<-a-@b.test>"),
    (
        "<!#$%&'*+-/=?^_`{|}~@b.test>",
        "!#$%&'*+-/=?^_`{|}~",
        "b.test",
        "<!#$%&'*+-/=?^_`{|}~@b.test>",
    ),
    ("<bounce+a=b.test@c.test>", "bounce+a=b.test", "c.test", "<bounce+a=b.test@c.test>"),
    // dots where the grammar has none
    ("<a..b@x>", "a..b", "x", "<a..b@x>"),
    ("<\".a\"@x>", ".a", "x", "<\".a\"@x>"),
    ("<a.@x>", "a.", "x", "<a.@x>"),
    // quoting
    ("<\"a b\"@example.net>", "a b", "example.net", "<\"a b\"@example.net>"),
    ("<\"a\\ b\"@example.net>", "a b", "example.net", "<\"a b\"@example.net>"),
    ("<\"a@b\"@c.test>", "a@b", "c.test", "<\"a@b\"@c.test>"),
    ("<\"a\\\"b\\\\c\"@c.test>", "a\"b\\c", "c.test", "<\"a\\\"b\\\\c\"@c.test>"),
    ("<\"plain\"@c.test>", "plain", "c.test", "<plain@c.test>"),
    ("<\"\\p\\l\\a\\i\\n\"@c.test>", "plain", "c.test", "<plain@c.test>"),
    ("<\"<>,:;[]()\"@c.test>", "<>,:;[]()", "c.test", "<\"<>,:;[]()\"@c.test>"),
    ("<\" \"@c.test>", " ", "c.test", "<\" \"@c.test>"),
    ("<\"é e\"@c.test>", "é e", "c.test", "<\"é e\"@c.test>"),
    // the mailbox that needs no domain
    ("<postmaster>", "postmaster", "", "<postmaster>"),
    ("<PostMaster>", "postmaster", "", "<postmaster>"),
    ("<@a.test:postmaster>", "postmaster", "", "<postmaster>"),
    ("<postmaster@c.test>", "postmaster", "c.test", "<postmaster@c.test>"),
    // source routes
    ("<@relay.test:a@b.test>", "a", "b.test", "<a@b.test>"),
    ("<@r1.test,@r2.test:a@b.test>", "a", "b.test", "<a@b.test>"),
    ("<@[IPv6:::1],@[127.0.0.1]:a@b.test>", "a", "b.test", "<a@b.test>"),
    ("<@r.test:\"a:b\"@b.test>", "a:b", "b.test", "<\"a:b\"@b.test>"),
    // literals
    ("<a@[127.0.0.1]>", "a", "[127.0.0.1]", "<a@[127.0.0.1]>"),
    ("<a@[IPv6:::1]>", "a", "[IPv6:::1]", "<a@[IPv6:::1]>"),
    ("<a@[ipv6:2001:DB8::1]>", "a", "[ipv6:2001:DB8::1]", "<a@[ipv6:2001:DB8::1]>"),
    ("<a@[IPv6:::ffff:192.0.2.1]>", "a", "[IPv6:::ffff:192.0.2.1]", "<a@[IPv6:::ffff:192.0.2.1]>"),
    ("<a@[x-tag:a@b!c:d]>", "a", "[x-tag:a@b!c:d]", "<a@[x-tag:a@b!c:d]>"),
    // RFC 6531
    ("<jürgen@bücher.example>", "jürgen", "bücher.example", "<jürgen@bücher.example>"),
    ("<用户@例え.テスト>", "用户", "例え.テスト", "<用户@例え.テスト>"),
];

const BAD: &[&str] = &[
    "",
    "<",
    ">",
    "a@b.test",
    "<a@b.test",
    "a@b.test>",
    "<a@b.test> ",
    " <a@b.test>",
    "<<a@b.test>>",
    "< >",
    "<@>",
    "<a>",
    "<abuse>",
    "<.a@x>",
    "<.@x>",
    "<a@_x.test>",
    "<postmaster@>",
    "<\"postmaster\">",
    "<a@>",
    "<@b.test>",
    "<\"\"@b.test>",
    "<a b@example.net>",
    "< a@example.net>",
    "<a @example.net>",
    "<a@ example.net>",
    "<a@b@c>",
    "<a@b,c>",
    "<a,b@c>",
    "<a(x)@c>",
    "<a\\@b@c>",
    "<a\"b\"@c>",
    "<\"a\"b@c>",
    "<\"a\".b@c>",
    "<\"a@c>",
    "<\"a\\\"@c>",
    "<\"a\"b\"@c>",
    "<\"a\\é\"@c>",
    "<\"a\tb\"@c>",
    "<\"a\\\tb\"@c>",
    "<\"a\r\nb\"@c>",
    "<a\0@c>",
    "<a\u{7f}@c>",
    "<a\u{85}@c>",
    "<\"a\u{9b}\"@c>",
    "<a@c\r\n>",
    "<a@c\u{85}d>",
    "<a@c\u{3000}d>",
    "<a@-bad->",
    "<a@-bad.test>",
    "<a@bad-.test>",
    "<a@b.test.>",
    "<a@.b.test>",
    "<a@b..test>",
    "<a@b!c>",
    "<a@b:c>",
    "<a@b.test>x>",
    "<@a.test:>",
    "<@a.test>",
    "<@a.test,:a@b.test>",
    "<@a.test,b.test:a@b.test>",
    "<@a.test,@:a@b.test>",
    "<@-a:a@b.test>",
    "<@[::1]:a@b.test>",
    "<@[IPv6:::1:a@b.test>",
    "<a@[]>",
    "<a@[127.0.0.1>",
    "<a@127.0.0.1]>",
    "<a@[127.0.0.256]>",
    "<a@[127.0.0]>",
    "<a@[::1]>",
    "<a@[2001:db8::1]>",
    "<a@[IPv6:127.0.0.1]>",
    "<a@[IPv6:fe80::1%eth0]>",
    "<a@[IPv6:]>",
    "<a@[tag:]>",
    "<a@[tag-:x]>",
    "<a@[:x]>",
    "<a@[t_g:x]>",
    "<a@[tag:a b]>",
    "<a@[tag:a[b]>",
    "<a@[tag:a\\b]>",
    "<a@[tag:a>b]>",
    "<a@[127.0.0.1].test>",
];

#[test]
fn good_paths() {
    for &(path, user, host, wire) in GOOD {
        let address = Address::parse(path).unwrap_or_else(|_| panic!("{path} was refused"));
        assert_eq!((address.user(), address.host()), (user, host), "{path}");
        assert_eq!(address.to_string(), wire, "{path}");
        assert_eq!(Address::parse(wire), Ok(address.clone()), "{path}");
        assert_eq!(Address::new(user, host), address, "{path}");
        assert_eq!(path.parse(), Ok(address), "{path}");
    }
}

#[test]
fn bad_paths() {
    for path in BAD {
        assert_eq!(Address::parse(path), Err(BadPath), "{path:?}");
    }
    assert!("<a b@c>".parse::<Address>().is_err());
    assert!(BadPath.to_string().contains("<user@host>"));
}

#[test]
fn limits() {
    let a = |n: usize| "a".repeat(n);
    assert!(Address::parse(&format!("<{}@b.test>", a(255))).is_ok());
    assert!(Address::parse(&format!("<{}@b.test>", a(256))).is_err());
    assert!(Address::parse(&format!("<{}@b.test>", "é".repeat(128))).is_err());
    assert!(Address::parse(&format!("<a@{}.test>", a(250))).is_ok());
    assert!(Address::parse(&format!("<a@{}.test>", a(251))).is_err());
    assert!(Address::parse(&format!("<a@[x:{}]>", a(251))).is_ok());
    assert!(Address::parse(&format!("<a@[x:{}]>", a(252))).is_err());

    // The limit counts the local part without its quoting, so the longest one reads back.
    let longest = Address::new(&"\"".repeat(255), &a(255));
    assert_eq!(Address::parse(&longest.to_string()), Ok(longest));

    let route = format!("@{}:", a(200));
    let room = MAX_PATH - "<@b.test>".len() - route.len();
    let hops = format!("@{},", a(198)).repeat(3);
    let path = |user: usize| format!("<{hops}{route}{}@b.test>", a(user));
    assert_eq!(path(room - hops.len()).len(), MAX_PATH);
    assert!(Address::parse(&path(room - hops.len())).is_ok());
    assert!(Address::parse(&path(room - hops.len() + 1)).is_err());
}

#[test]
fn null() {
    let null = Address::null();
    assert!(null.is_null());
    assert!(null.is_ascii());
    assert_eq!(null, Address::new("", ""));
    assert_eq!((null.user(), null.host(), null.address().as_str()), ("", "", ""));
    assert!(!Address::new("a", "").is_null());
    assert!(!Address::new("", "b.test").is_null());
}

#[test]
fn address_is_unquoted() {
    let text = |path: &str| Address::parse(path).map(|a| a.address());
    assert_eq!(text("<a@b.test>").as_deref(), Ok("a@b.test"));
    assert_eq!(text("<\"a \\\"b\"@c.test>").as_deref(), Ok("a \"b@c.test"));
    assert_eq!(text("<postmaster>").as_deref(), Ok("postmaster"));
}

#[test]
fn ascii() {
    assert!(Address::new("a", "b.test").is_ascii());
    assert!(!Address::new("é", "b.test").is_ascii());
    assert!(!Address::new("a", "é.test").is_ascii());
}

#[test]
fn with_leaves_the_original() {
    let a = Address::new("a", "b.test");
    assert_eq!(a.with_user("c d").to_string(), "<\"c d\"@b.test>");
    assert_eq!(a.with_host("c.test").to_string(), "<a@c.test>");
    assert_eq!(a.with_host("").to_string(), "<a>");
    assert_eq!(a.to_string(), "<a@b.test>");
}

#[test]
fn nothing_ends_a_path_early() {
    assert_eq!(Address::new("a\r\nRSET\0", "b.test").to_string(), "<aRSET@b.test>");
    assert_eq!(Address::new("a>", "b> SIZE=1\r\n").to_string(), "<\"a>\"@bSIZE=1>");
    let a = Address::new("a", "b.test");
    assert_eq!(a.with_user("\u{9b}x\n").with_host("c\u{85}\t.test").to_string(), "<x@c.test>");
    assert_eq!(Address::new("", "b.test").to_string(), "<\"\"@b.test>");
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, parts: &[&'a str]) -> &'a str {
        parts[self.below(parts.len())]
    }

    fn text(&mut self, parts: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.pick(parts)).collect()
    }
}

#[test]
fn every_accepted_path_reads_back() {
    let noise = [
        "a",
        "Z",
        "9",
        ".",
        "..",
        "-",
        "_",
        "@",
        "@",
        "\"",
        "\\",
        " ",
        "<",
        ">",
        "[",
        "]",
        ":",
        ",",
        "é",
        "用",
        "+",
        "\t",
        "\r",
        "\n",
        "\0",
        "\u{7f}",
        "\u{9b}",
        "IPv6:",
        "::1",
        "127.0.0.1",
        "postmaster",
        "b.test",
        "\"@b",
    ];
    let mut lcg = Lcg(1);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let path = format!("<{}>", lcg.text(&noise, 7));
        let Ok(address) = Address::parse(&path) else { continue };
        accepted += 1;
        let wire = address.to_string();
        assert_eq!(Address::parse(&wire), Ok(address.clone()), "{path:?} became {wire:?}");
        assert!(!wire.contains(|c: char| c.is_control()), "{path:?} became {wire:?}");
        assert_eq!(Address::new(address.user(), address.host()), address, "{path:?}");
        assert!(!address.user().is_empty() || path == "<>", "{path:?}");
    }
    assert!(accepted > 5_000, "only {accepted} paths were accepted");
}

#[test]
fn every_valid_path_is_accepted() {
    let atoms = ["a", "B", "7", "+", "-", "'", "/", "é", "用", "."];
    let quoted = [" ", "@", "\\\"", "\\\\", "\\a", "a", "é", "<", ">", ",", ":", "(", "."];
    let hosts =
        ["b.test", "b_c.d-e.test", "x", "[127.0.0.1]", "[IPv6:2001:db8::1]", "[x:y]", "é.test"];
    let routes = ["", "", "@r.test:", "@r.test,@[IPv6:::1]:"];
    let mut lcg = Lcg(2);
    for _ in 0..20_000 {
        let user = match lcg.below(2) {
            0 => format!("{}{}", lcg.pick(&atoms[..9]), lcg.text(&atoms, 20)),
            _ => format!("\"{}{}\"", lcg.pick(&quoted), lcg.text(&quoted, 20)),
        };
        let host = lcg.pick(&hosts);
        let path = format!("<{}{user}@{host}>", lcg.pick(&routes));
        let address = Address::parse(&path).unwrap_or_else(|_| panic!("{path} was refused"));
        assert_eq!(address.host(), host, "{path}");
        assert_eq!(Address::parse(&address.to_string()), Ok(address), "{path}");
    }
}
