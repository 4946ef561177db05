//! Lists as people have them: the table of the guide, form by form.

use std::io::Write as _;

use super::*;

/// What becomes of a name: the action, or `-` if no rule is about it.
fn actions(text: &[u8], names: &[&str]) -> Vec<&'static str> {
    let list = List::parse("list0", text)
        .unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(text)));
    let act = |asked: &&str| {
        list.find(&name(asked), CLIENT.parse().unwrap()).map_or("-", |rule| list.action(rule).name())
    };
    names.iter().map(act).collect()
}

fn report(text: &[u8]) -> Report {
    List::parse("list0", text).unwrap().report().clone()
}

fn refused(text: &[u8]) -> String {
    List::parse("list0", text).err().map_or_else(|| "taken up".to_owned(), |fault| fault.to_string())
}

/// Format and rules, then what is refused, of every form in the guide.
#[test]
fn the_table_of_the_guide() {
    let rpz = "$TTL 30\n@ IN SOA localhost. root.localhost. 1 2 3 4 5\n  IN NS localhost.\nads.test CNAME .\n*.ads.test CNAME .\n";
    let small_rpz = rpz.to_ascii_lowercase();
    let packed = gzip(b"ads.test\n");
    let forms: [(&str, &[u8], Format, usize); 14] = [
        ("RPZ", rpz.as_bytes(), Format::Rpz, 2),
        ("RPZ in small letters", small_rpz.as_bytes(), Format::Rpz, 2),
        ("RPZ without head", b"; c\nads.test IN CNAME .\n", Format::Rpz, 1),
        (
            "hosts",
            b"# Title: StevenBlack/hosts\n127.0.0.1 localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 ads.test\n",
            Format::Hosts,
            1,
        ),
        ("domains", b"# c\nads.test\n", Format::Domains, 1),
        ("wildcards", b"# c\n*.ads.test\n", Format::Domains, 1),
        ("squid", b".ads.test\n", Format::Domains, 2),
        ("adblock", b"[Adblock Plus]\n! Title: OISD\n||ads.test^\n", Format::Adblock, 2),
        ("dnsmasq", b"# c\nlocal=/ads.test/\n", Format::Dnsmasq, 2),
        ("unbound", b"server:\nlocal-zone: \"ads.test.\" always_null\n", Format::Unbound, 2),
        ("URLs", b"# URLhaus\nhttp://ads.test/\nhttp://more.test/a.exe\n", Format::Domains, 1),
        ("gzip", &packed, Format::Domains, 1),
        ("UTF-16", b"\xff\xfea\0d\0s\0.\0t\0e\0s\0t\0\r\0\n\0", Format::Domains, 1),
        ("carriage returns", b"# c\rads.test\rmore.test\r", Format::Domains, 2),
    ];
    for (form, text, format, rules) in forms {
        let list = List::parse("x", text).unwrap_or_else(|fault| panic!("{form}: {fault}"));
        assert_eq!((list.report().format, list.rules(), list.report().skipped), (format, rules, 0), "{form}");
    }
    let tar = gzip(b"list\0\0\0\0ads.test\n");
    let cut = &packed[..packed.len() - 6];
    let no_rules = rpz.split_inclusive('\n').take(3).collect::<String>();
    let forms: [(&str, &[u8], &str); 14] = [
        ("empty", b"", "there is no rule in it"),
        ("comments", b"# only\n! those\n; and these\n", "there is no rule in it"),
        ("HTML", b"\n <!DOCTYPE html>\n<html><body>ads.test\nads.test\n</body>\n", "a web page, not a list"),
        ("an error page", b"<?xml version=\"1.0\"?><Error>NoSuchKey</Error>", "a web page, not a list"),
        ("an error in words", b"404: Not Found\n", "there is no rule in it; 1 not understood (line 1)"),
        ("JSON", b"{\n  \"domains\": [\n \"ads.test\"\n]}\n", "not understood (line 1, 2, 3, 4)"),
        ("RPZ without rules", no_rules.as_bytes(), "there is no rule in it"),
        (
            "RPZ about answers",
            b"$TTL 9\n32.1.2.0.192.rpz-ip CNAME .\n",
            "; 1 with triggers or actions that are not known here",
        ),
        (
            "a firewall's list",
            b"192.0.2.1\n198.51.100.0/24\n2001:db8::/32\n",
            "; 3 about IP addresses, left out",
        ),
        ("elements only", b"! x\n##.ad\nnews.test##.ad\n", "; 2 about elements of pages, left out"),
        ("dnsmasq without lists", b"domain-needed\nserver=/lan/192.0.2.1\n", "1 not understood (line 1)"),
        ("cut gzip", cut, "compressed data that ends early or is damaged"),
        ("tar.gz", &tar, "binary data, not a list"),
        ("gravity.db", b"SQLite format 3\0\x10\0", "an SQLite database, not a list"),
    ];
    for (form, text, words) in forms {
        assert!(refused(text).contains(words), "{form}: {}", refused(text));
    }
    assert!(List::parse("x", no_rules.as_bytes()).is_err());
}

#[test]
fn a_comment_is_what_the_format_of_its_line_says() {
    // Rules about pages are about no name.
    for mark in [
        "##.ad",
        "#@#.ad",
        "#$#body { x: 1 }",
        "#%#window.x = 1",
        "#?#div:has(> a)",
        "#@?#x",
        "#@$#x",
        "#$?#x",
        "#@%#x",
        "$$script[x]",
        "$@$script",
        "###banner",
    ] {
        let text = format!("||block.test^\nnews.test{mark}\nmore.test\n");
        assert_eq!(
            actions(text.as_bytes(), &["news.test", "a.news.test", "more.test"]),
            ["-", "-", "nxdomain"],
            "{mark}"
        );
        assert_eq!(report(text.as_bytes()).left_out[0], 1, "{mark}");
        // In a list of domains as well.
        assert_eq!(actions(format!("a.test\nnews.test{mark}\n").as_bytes(), &["news.test"]), ["-"], "{mark}");
    }
    // A comment's words are no records.
    for comment in [
        "# AdGuard CNAME trackers",
        "! Title: AdGuard CNAME disguised trackers list",
        "# SOA",
        "; this is CNAME .",
        "#\tx CNAME .",
        "! x.test SOA a b",
        "[CNAME . SOA]",
    ] {
        let text = format!("{comment}\n0.0.0.0 a.test\n||b.test^\n");
        assert_eq!(actions(text.as_bytes(), &["a.test", "b.test"]), ["nxdomain"; 2], "{comment}");
    }
    let trailing = "0.0.0.0 a.test#x\n0.0.0.0 b.test # CNAME of c.test\nc.test # CNAME\nd.test#x\ne.test ; SOA x y\nf.test // x\naddress=/g.test/# # all\n";
    assert_eq!(
        actions(
            trailing.as_bytes(),
            &["a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "x.g.test"]
        ),
        ["nxdomain"; 7]
    );
    assert_eq!(report(trailing.as_bytes()).skipped, 0);
    // Other languages in comments.
    assert_eq!(actions(b"# f\xfcr alle\na.test # f\xfcr\n", &["a.test"]), ["nxdomain"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    for text in [
        "a.test\n",
        "0.0.0.0 a.test\n",
        "||a.test^\n",
        "a.test CNAME .\n",
        "$TTL 5\na.test CNAME .\n",
        "local=/a.test/\n",
        "local-zone: a.test static\n",
    ] {
        let marked = format!("\u{feff}{text}");
        assert_eq!(actions(marked.as_bytes(), &["a.test"]), ["nxdomain"], "{text}");
        assert_eq!(report(marked.as_bytes()), report(text.as_bytes()));
        assert_eq!(actions(&gzip(marked.as_bytes()), &["a.test"]), ["nxdomain"], "{text}");
    }
}

#[test]
fn no_list_takes_this_computer_s_names_away() {
    let text = "127.0.0.1 Localhost\n127.0.0.1 LOCALHOST.\n0.0.0.0 localhost.localdomain.\n0.0.0.0 x.localhost\n::1 IP6-loopback\n\
                ff02::3 ip6-allhosts\nfe00::0 ip6-localnet\n255.255.255.255 broadcasthost\n127.0.0.1 local\n\
                0.0.0.0 Localhost4.Localdomain4\nlocalhost\nlocalhost.\n||localhost^\n*.localhost\n||a.localhost^$important\n\
                address=/localhost/0.0.0.0\nlocal=/localhost/\nlocal-zone: \"localhost.\" static\nlocal-data: \"localhost A 0.0.0.0\"\n\
                192.0.2.1 localhost\n0.0.0.0 notlocalhost\n";
    let names = [
        "localhost",
        "x.localhost",
        "a.localhost",
        "localhost.localdomain",
        "ip6-loopback",
        "ip6-allhosts",
        "ip6-localnet",
        "broadcasthost",
        "local",
        "localhost4.localdomain4",
    ];
    assert_eq!(actions(text.as_bytes(), &names), ["-"; 10]);
    assert_eq!((report(text.as_bytes()).skipped, report(text.as_bytes()).doubles), (0, 0));
    assert_eq!(actions(text.as_bytes(), &["notlocalhost"]), ["nxdomain"]);
}

#[test]
fn rules_of_ad_blockers_are_weighed_as_theirs_are() {
    let text = "[Adblock Plus 2.0]\n! Expires: 1 day\n@@||good.bad.test^\n||bad.test^\n||ads.good.bad.test^\n||must.good.bad.test^$important\n\
                @@||really.must.good.bad.test^$important\n||all.test^$all\n||both.test^$all,important\n||bar.test^|\n|exact.test^\n||open.test\n\
                ||third.test^$third-party\n||types.test^$dnstype=AAAA\n@@||page.test^$document\n||path.test/x\n||192.0.2.7^\n||[2001:db8::1]^\n\
                ||wild*.test^\n||*.below.test^\n/regex/\n-banner.\n/ads.js$script\n.gif|\n&ad=\nhttps://url.test/\nhttp://url.test:8080/ad\n\
                ||gone.test^\n||gone.test^$badfilter\nplain.test\n@@plain.test\n";
    for (asked, action) in [
        ("bad.test", "nxdomain"),
        ("x.bad.test", "nxdomain"),
        ("good.bad.test", "passthru"),
        ("x.good.bad.test", "passthru"),
        // An exception is for all below it, however long the rule.
        ("ads.good.bad.test", "passthru"),
        ("must.good.bad.test", "nxdomain"),
        ("really.must.good.bad.test", "passthru"),
        ("x.all.test", "nxdomain"),
        ("both.test", "nxdomain"),
        ("x.bar.test", "nxdomain"),
        ("exact.test", "nxdomain"),
        ("x.exact.test", "-"),
        ("x.open.test", "nxdomain"),
        ("third.test", "-"),
        ("types.test", "-"),
        ("page.test", "-"),
        ("path.test", "-"),
        ("below.test", "-"),
        ("x.below.test", "nxdomain"),
        ("url.test", "nxdomain"),
        ("gone.test", "-"),
        ("plain.test", "nxdomain"),
    ] {
        assert_eq!(actions(text.as_bytes(), &[asked]), [action], "{asked}");
    }
    // Pages' elements, options, patterns, addresses, URLs, settings.
    let report = report(text.as_bytes());
    assert_eq!((report.left_out, report.skipped, report.format), ([0, 3, 8, 2, 1, 0], 0, Format::Adblock));
    let list = List::parse("x", text.as_bytes()).unwrap();
    assert!(
        list.summary().contains("; 3 with options that a name cannot have, left out; 8 about patterns"),
        "{}",
        list.summary()
    );
}

/// Whatever stands first in the text.
#[test]
fn the_order_of_lines_decides_nothing_between_ranks() {
    let mut lines = ["@@||good.test^", "||test^", "||x.good.test^", "||y.good.test^$important"];
    for _ in 0..lines.len() {
        lines.rotate_left(1);
        let text = lines.join("\n");
        let asked = ["good.test", "x.good.test", "y.good.test", "z.test"];
        assert_eq!(
            actions(text.as_bytes(), &asked),
            ["passthru", "passthru", "nxdomain", "nxdomain"],
            "{text}"
        );
    }
}

#[test]
fn configurations_of_dnsmasq_and_unbound_are_read_as_they_answer() {
    let dnsmasq = "# comment\nlocal=/Local.test/\nserver=/server.test/\naddress=/null.test/0.0.0.0\naddress=/six.test/::\naddress=/hash.test/#\n\
                   address=/empty.test/\naddress=/a.test/b.test/127.0.0.1\naddress=/*.star.test/0.0.0.0\naddress=/wall.test/192.0.2.9\n\
                   server=/free.local.test/#\nserver=/lan.test/192.0.2.1\naddress=/#/192.0.2.1\ncname=a,b\n";
    for (asked, action) in [
        ("local.test", "nxdomain"),
        ("x.local.test", "nxdomain"),
        ("free.local.test", "passthru"),
        ("server.test", "nxdomain"),
        ("x.null.test", "nxdomain"),
        ("six.test", "nxdomain"),
        ("hash.test", "nxdomain"),
        ("empty.test", "nxdomain"),
        ("a.test", "nxdomain"),
        ("x.b.test", "nxdomain"),
        ("star.test", "-"),
        ("x.star.test", "nxdomain"),
        ("x.wall.test", "local-data"),
        ("lan.test", "-"),
        ("other.test", "-"),
    ] {
        assert_eq!(actions(dnsmasq.as_bytes(), &[asked]), [action], "{asked}");
    }
    let unbound = "server:\n  local-zone: \"null.test\" always_null # c\nlocal-zone: nx.test. always_nxdomain\nlocal-zone: 'static.test' static\n\
                   local-zone: \"refused.test\" refuse\nlocal-zone: \"deny.test\" deny\nlocal-zone: \"nodata.test\" always_nodata\n\
                   local-zone: \"wall.test\" redirect\nlocal-data: \"wall.test 60 IN A 192.0.2.9\"\nlocal-data: 'wall.test A 192.0.2.8'\n\
                   local-zone: \"zero.test\" redirect\nlocal-data: \"zero.test A 0.0.0.0\"\nlocal-data: \"alone.test AAAA ::\"\n\
                   local-data: \"host.static.test A 192.0.2.7\"\nlocal-zone: \"free.nx.test\" always_transparent\n\
                   local-data-ptr: \"192.0.2.1 a.test\"\nlocal-zone: \"lan.test\" nodefault\nlocal-zone: \"x.test\" of_no_sort\n";
    for (asked, action) in [
        ("x.null.test", "nxdomain"),
        ("nx.test", "nxdomain"),
        ("x.free.nx.test", "passthru"),
        ("static.test", "nxdomain"),
        ("host.static.test", "local-data"),
        ("x.static.test", "nxdomain"),
        ("refused.test", "nxdomain"),
        ("x.deny.test", "drop"),
        ("nodata.test", "nodata"),
        ("wall.test", "local-data"),
        ("x.wall.test", "local-data"),
        ("zero.test", "nxdomain"),
        ("x.zero.test", "nxdomain"),
        ("alone.test", "nxdomain"),
        ("x.alone.test", "-"),
        ("lan.test", "-"),
        ("x.test", "-"),
    ] {
        assert_eq!(actions(unbound.as_bytes(), &[asked]), [action], "{asked}");
    }
    let report = report(unbound.as_bytes());
    assert_eq!((report.left_out[5], report.skipped_lines, report.doubles), (2, vec![18], 0));
    let policy = policy(&[unbound]);
    assert_eq!(answer(&policy, "x.wall.test", Kind::A).len(), 3);
}

#[test]
fn a_list_that_loses_much_is_told_from_one_that_loses_little() {
    let list = |rules: usize| {
        List::parse("x", (0..rules).map(|n| format!("n{n}.test\n")).collect::<String>().as_bytes()).unwrap()
    };
    for (before, after, percent, is_fine) in [
        (100, 50, 50, true),
        (100, 49, 50, false),
        (100, 1, 99, true),
        (100, 1, 98, false),
        (100, 99, 0, false),
        (100, 100, 0, true),
        (100, 1, 100, true),
        (9, 1, 50, true),
        (10, 4, 50, false),
    ] {
        let fault = list(after).check_shrink(Some(&list(before)), percent).err();
        assert_eq!(
            fault,
            (!is_fine).then_some(PolicyFault::Shrunk { before, after }),
            "{before} {after} {percent}"
        );
    }
    assert_eq!(list(1).check_shrink(None, 0), Ok(()));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_member_of_a_gzip_file_is_read() {
    let both = [gzip(b"a.test\n"), gzip(b"b.test\n"), vec![0; 8]].concat();
    assert_eq!(actions(&both, &["a.test", "b.test"]), ["nxdomain"; 2]);
}

/// Lines of published lists that other programs took for names, or for nothing.
#[test]
fn lines_that_others_stumbled_over() {
    let text = "[Adblock Plus]\n||first.test^\n||sas.test^\nfandom.test##.featured-video__wrapper\n||ga^$domain=~google.ga|~my.ga\n\
                ||shop.test^$3p\n||37.0.11.8^\n-ad-300x600-\n@@||sas.test^\n@@||ajax.first.test^\nhref=\"http://edrewes.test/\"\n";
    for (asked, action) in [
        ("sas.test", "passthru"),
        ("fandom.test", "-"),
        ("any.ga", "-"),
        ("shop.test", "-"),
        ("edrewes.test", "-"),
        ("x.first.test", "nxdomain"),
        ("x.ajax.first.test", "passthru"),
    ] {
        assert_eq!(actions(text.as_bytes(), &[asked]), [action], "{asked}");
    }
    let report = report(text.as_bytes());
    // Pages' elements, options, patterns, addresses, URLs, settings.
    assert_eq!((report.left_out[0], report.left_out[1], report.left_out[3]), (1, 2, 1));
}
