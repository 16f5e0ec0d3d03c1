//! Top-level domains: every country's, and the general ones that are in use.

/// Whether a name under it is a host's without further evidence.
pub(crate) fn is_common(top: &[u8]) -> bool {
    is_in(COMMON, top)
}

/// Whether it exists.
pub(crate) fn is_known(top: &[u8]) -> bool {
    is_common(top) || is_in(GENERAL, top) || <[u8; 2]>::try_from(top).is_ok_and(is_country)
}

/// Whether it is also a word, the ending of a file's name or the name of a column.
pub(crate) fn is_ambiguous(top: &[u8]) -> bool {
    is_in(AMBIGUOUS, top)
}

fn is_in(list: &[&str], top: &[u8]) -> bool {
    list.iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(top))
}

fn is_country(top: [u8; 2]) -> bool {
    let top = top.map(|byte| byte.to_ascii_lowercase());
    COUNTRIES
        .as_bytes()
        .chunks(3)
        .any(|country| country.starts_with(&top))
}

const COMMON: &[&str] = &[
    "com", "org", "net", "edu", "gov", "mil", "int", "io", "biz", "info", "dev", "app", "cloud",
];

const GENERAL: &[&str] = &[
    "academy",
    "agency",
    "arpa",
    "art",
    "asia",
    "bank",
    "berlin",
    "bio",
    "blog",
    "business",
    "camp",
    "capital",
    "care",
    "cat",
    "center",
    "chat",
    "city",
    "click",
    "club",
    "company",
    "consulting",
    "coop",
    "design",
    "digital",
    "email",
    "energy",
    "eus",
    "events",
    "exchange",
    "expert",
    "family",
    "finance",
    "fun",
    "fund",
    "gal",
    "games",
    "global",
    "green",
    "group",
    "guru",
    "health",
    "help",
    "homes",
    "hosting",
    "jobs",
    "law",
    "life",
    "link",
    "live",
    "london",
    "ltd",
    "market",
    "marketing",
    "media",
    "mobi",
    "museum",
    "network",
    "news",
    "ninja",
    "nyc",
    "online",
    "page",
    "partners",
    "paris",
    "photography",
    "plus",
    "pro",
    "review",
    "school",
    "services",
    "shop",
    "site",
    "social",
    "software",
    "solutions",
    "space",
    "store",
    "studio",
    "support",
    "systems",
    "team",
    "tech",
    "technology",
    "tel",
    "today",
    "tools",
    "top",
    "tours",
    "travel",
    "university",
    "ventures",
    "video",
    "vip",
    "wiki",
    "work",
    "works",
    "world",
    "xxx",
    "xyz",
    "zone",
];

const AMBIGUOUS: &[&str] = &[
    // Words.
    "am", "as", "at", "be", "by", "do", "hm", "id", "in", "is", "it", "me", "mr", "ms", "my", "no",
    "so", "to", "tv", "us", "la", "et", "il", "un", "st", "co", "pm",
    // Endings of files' names.
    "ai", "cc", "gz", "hs", "md", "mk", "ml", "mm", "mo", "pl", "pm", "ps", "py", "rs", "sh", "so",
    "sv", "tf", "ts", "vb", // Names of columns and fields.
    "art", "blog", "business", "cat", "center", "city", "click", "company", "email", "energy",
    "events", "exchange", "family", "fund", "group", "health", "help", "jobs", "law", "life",
    "link", "live", "market", "media", "network", "news", "page", "plus", "pro", "review",
    "school", "services", "site", "space", "store", "support", "team", "tel", "today", "tools",
    "top", "video", "work", "works", "zone", "design", "global", "green", "social", "software",
    "agency", "bank", "care", "chat", "club", "expert", "finance", "fun", "games", "homes", "int",
    "partners", "studio", "systems", "travel", "world",
];

/// ISO 3166 with the additions of the root zone, three bytes each.
const COUNTRIES: &str = "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz \
ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg \
gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz \
la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu \
nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st su sv sx sy sz \
tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw ";
