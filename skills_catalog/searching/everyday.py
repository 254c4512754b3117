"""What people say, and what definitions call it: everyday words and the jargon of trades, next to the words of APIs.

A general thesaurus, of no integration in particular. What only one action is asked for with belongs into its `asks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from skills_catalog.searching.words import stem, words_in

#: What is several words, or not of letters alone, and the words that stand for it.
_PHRASES = """
    pull request, pull requests, pr, prs: pull
    merge request, merge requests, mr, mrs: mergerequest
    e-mail, e mail: email
    to-do, to do list, to-dos, to dos: todo
    kick off, kicks off, fire up, spin up: start
    shut down, turn off, switch off: disable
    turn on, switch on: enable
    out of office, away message, auto reply, auto-reply, autoreply, ooo: vacation responder
    on-call, on call: oncall
    on duty: oncall duty
    direct message, direct messages, private message: dm
    p&l, p and l, p & l: profit loss
    q&a: question answer
    2fa, two factor, one time code, one-time code, one time password, otp, mfa: verification code
    speech to text, voice to text: transcribe
    text to speech, tts: speech aloud
    reads aloud, read aloud, say aloud: speech aloud
    aaaa record, mx record, txt record, cname, cnames: dns record
    time off: vacation
    get rid of, throw away, throw out, bin it: delete
    give back, pay back, paid back, money back, send back the money: refund
    charge back, charge backs: chargeback
    take off, takes off: remove
    sign off: approve
    look up, look for, search for: find
    log in, logged in, sign in, signed in: account connected
    who am i, whoami, my account, my profile: account connected profile
    set up: create
    write down, writes down, jot down: note
    file a, raise a, log a, submit a: create a
    who can see, who can open, who may see, who may open, who has access, who can access: list permissions access
    how long did, how much time: time worked
    day off, days off, sick leave: vacation
    shopping list, grocery list, groceries: task list
    bullet points, bullet point: text
    every month, each month, every year, monthly: recurring subscription
    calling off, call off, called off, calls off: cancel
    put off, push back: move later
    sum up, sums up: summarize
    recording, recordings: audio
    point out: comment
    find out: find
    make sure: check
    cut off: cancel
    take back: undo
    fill in, fill out: update
    clean up: delete
    at once: now
    let in: allow
    lock out: block
    sort out: resolve
    back up, backs up, backup, backups: upload copy save
    went off, goes off, going off: alert incident
    give permission, gives permission: share
    to doing, to done, in progress: move status
    unsub, opt-out: unsubscribe
    net 30, net 60, net 14: due
    in ap, in ar, accounts payable, accounts receivable: bill invoice
    edge: cache
    carbon copy: cc
    standing order: subscription
    going live: deploy
    how far: status progress
    on hold: pause
    keep an eye on: watch
    set off: trigger
    pay for: payment
    ran into, run into: error
    look after, takes care of, take care of: assignee owner
    pick up, picks up: assign
    bring up: open
    switch to, switched to: change
    step down, drop out: leave remove
    let go: remove
    turned down, turn down: decline
    come up with: generate
    made up, make up: generate
    boil down: summarize
    tidy up: clean
    add up: sum
    text back, write back, get back to: reply
    get in touch, reach out, drop a line: send message
    spread the word: send message
    money owed, owes us, owe us: invoice unpaid due
    heads up, heads-up: message
    thumbs up, thumbs-up: reaction
    sign up, signs up: sign create
    opt out, opts out: unsubscribe
    stand up, stand-up, one on one, 1:1, 1-1: meeting event
    kanban board: board
    source code: code
    code review: review
    bug report: issue bug
    error report: issue error
    voice message: audio
    cash flow: profit loss bank transactions
    road map: roadmap
    time sheet: timesheet
    business card: contact
    hand over, hand off, pass to: assign
    in charge of, in charge: assignee
    roll out, go live, ship it: deploy
    full text: search
    get together, get-together, meet up, catch up: meeting event
    not coming, cannot make it, can't make it, can't come: decline
    tick off, check off, crossed off, cross off, mark done, mark as done: complete
    how many: count number
    how much money: balance
    web site, web page: website
    phone number, telephone number: phone number
    power point, powerpoint: slides presentation
    slide deck, pitch deck: slides presentation
    stack trace, traceback: stacktrace
    follow up: task reminder
    open rate, click rate, ctr: opens clicks report
    closed-won, closed won: win deal
    closed-lost, closed lost: lose deal
    pass on, passes on: forward
    change log, changelog: release notes
    wrap up: close
    right now: now
    vector db, vector database: vector store
    knowledge base, help centre: help center articles
    point of contact: contact
    mailing list, mailing lists: audience list contacts unsubscribe
    support request, support requests: ticket
    bring back, put back: restore
"""

#: A word, and those that definitions may use for it. Said of stems, so one form of each will do.
_MEANINGS = """
    mail, inbox, post: mail message email
    email: mail message
    newsletter: campaign broadcast
    ticket: issue case
    issue: ticket bug
    bug, defect: issue error
    blocker, incident: issue
    crash, exception, failure, outage: error issue incident
    error: issue
    alarm, alert, page: incident alert notification
    down: incident
    acknowledge, ack: acknowledge incident
    mute, silence, quiet: snooze
    stop: cancel pause end
    start, begin, launch, trigger, kick, run, fire: run start trigger begin
    rerun, retry, redo: rerun retry again
    build, ci, cd: workflow pipeline run job
    flaky, broken: failed
    fail, why: failed log
    pipeline: workflow
    pull: mergerequest
    mergerequest: pull merge
    diff, changes: files diff changed
    lgtm: approve merge review
    ship, publish, release: deploy release publish
    cut: create
    repo, repository, codebase: repository repo project
    branch: ref branch
    grep: search code
    function, snippet, source: code
    snippet: gist
    who, owner, responsible: assignee owner user member
    teammate, colleague, coworker, employee, staff: user member people teammate
    people, person, human, guy: user member people contact
    customer, client, buyer, shopper, patron: customer contact user
    guest, participant, invitee, attendee: attendee guest
    subscriber, recipient: member contact subscription
    buyer: customer
    vendor, supplier: supplier contact
    lead, prospect: contact lead person
    company, firm, business, employer: company organization account
    organisation: organization
    opportunity, opp, sale: deal opportunity
    won: win deal stage
    chat, dialogue, discussion: conversation thread message chat
    channel, room: channel
    dm: direct conversation message dm
    ping, tell, notify, announce, inform, alert: send post message
    text, sms, whatsapp: send text message
    say, said, wrote: comment message text
    reply, respond, answer: reply answer respond
    everybody, everyone: all
    remark, feedback, opinion: comment review note
    comment: note comment
    note: comment note
    call, dial, ring, phone: call
    number: phone number
    emoji, thumbs, like, smiley, react: reaction
    forward: forward
    attachment: attachment file attach
    document, doc, paper, essay: document doc file page
    page: page document
    wiki, handbook, docs: page space wiki
    file: file document
    folder, directory: folder
    picture, photo, image, pic, png, jpg, jpeg, foto, drawing, illustration, draw, paint: image picture photo
    mockup, artboard, layer, design: frame layer design file
    screenshot: image
    render, export: render export download
    spreadsheet, excel, xlsx, workbook, csv: spreadsheet sheet workbook
    cell, row, column: cell row value range record
    row, entry, item: record row entry item
    table: table database
    database, db: database base table data
    presentation, slideshow, deck, ppt, pptx: slides presentation
    trash, bin, discard, erase, wipe, kill, drop, purge, destroy, scrap: delete remove trash
    delete, remove: delete remove trash archive
    undelete, recover, undo: restore untrash
    add, create, make, insert, put, write, new, raise: create add new make
    open: create open
    append: append add
    change, edit, modify, adjust, alter, rename, bump, set, fix, correct, amend, tweak: update change edit set
    update: update change edit
    move, shift, transfer, drag: move
    find, search, locate, query, lookup: search find query
    show, list, display, view, see, check, fetch, read, get, which, what: list get read
    copy, duplicate, clone: copy
    bust, flush, clear, invalidate: purge clear
    cdn: cache
    domain, website, site, hostname: zone domain site
    visitor, traffic, visit: traffic visitors visit
    nameserver: dns
    firewall, ban, blacklist, blocklist: block access rule
    block: block
    allow, whitelist, permission, access, right: access permission share
    share, invite: share invite
    link, url, permalink: link url address
    meeting, appointment, event, gathering, session, standup, sync: event meeting
    meet: meeting event
    schedule, agenda: calendar schedule event
    plan: schedule create
    book, arrange: create event schedule
    free, busy, available, availability, slot: free busy times freebusy
    rsvp, invitation: accept decline invitation event
    reschedule, postpone, delay: update move time event
    decline, refuse: decline
    approve, confirm: approve accept
    holiday, leave, away, absent: vacation
    shift, rota, roster, rotation: oncall schedule shift override
    cover, substitute, swap, replace: override replace
    finish, complete, done, close, resolve, tick, check: complete close resolve done
    close: close complete
    task, todo, chore, errand: task todo
    remind, reminder, remember: task reminder
    subtask: subtask child parent task
    ticket, story, epic: issue
    backlog: issue sprint
    sprint, iteration: sprint cycle
    cycle: cycle sprint
    board, kanban: board
    milestone, roadmap, deadline: milestone project due
    overdue, late, due: due overdue filter
    hours, worked, timesheet: time worklog log entry
    worklog: worklog time
    assign, delegate, own: assign assignee
    status, state, stage: status state transition stage
    status: transition state
    label, tag, category: label tag
    refund, reimburse: refund
    money, cash, fund, revenue: balance payment money
    bill, charge, invoice: invoice bill
    bill: invoice
    pay, paid, payment, transaction, purchase: payment paid transaction
    dispute, chargeback: dispute
    payout, deposit: payout transfer
    void, cancel, abort, revoke: cancel void
    profit, loss, earn, income, earning: profit loss
    account: account
    bookkeeping, ledger: accounts transactions
    plan: subscription plan
    upgrade, downgrade, proration, mrr: subscription update plan
    stock, inventory, warehouse, left: inventory stock available
    parcel, package, shipment, shipped, ship, dispatch, delivery: fulfillment sent tracking order
    price, cost: price
    sku, variant, barcode: variant sku price
    product, goods, article, merchandise: product
    order: order
    coupon, discount: discount
    metric, kpi, performance, analytics, statistic: report stats statistics
    report: report
    perform: report stats
    song, track, tune, music: track song playback music
    music, louder, quieter, sound: playback volume music
    louder, quieter, loud: volume
    play, listen, resume: playback play start
    playing: playback
    skip: next skip
    vocal, voice, audio: audio speech
    transcript, transcription: transcribe
    llm, gpt, ai, chatgpt, prompt: model response
    summarize, translate, rewrite: response model
    embed, embedding: embeddings vectors
    rag, semantic: vector store search
    history, version, revision: version history commit
    commit: commit
    setting, config, configuration, preference, option: setting update
    quota, allowance, usage, limit: usage limit
    verify, validate, check: verify check validate
    spf, dkim, dmarc: dns domain verify
    subscribe: subscribe upsert add
    unsubscribe, optout: unsubscribe archive remove
    hook, callback: webhook
    key, secret: key
    soql: soql query
    jql: jql search
    cql: cql search
    kv: kv value
    sell, sold, bought, buy: order payment sale
    shop, store, storefront: store shop
    spend, spent, expense: spent payment bill
    receipt: payment invoice
    customer, consumer: customer
    signup, register, registration, enroll: create sign
    offensive, toxic, hateful, rude, abusive, nsfw, harmful: harmful moderation moderate
    joke, poem, question, chatbot: model response answer
    similar, meaning, vector: embeddings vector
    record: record
    watch, monitor, observe: monitor follow
    heart, thumb, upvote: reaction star
    outage: incident status
    unsubscribe: archive suppress
    suppress: unsubscribe bounce
    nuke, stale: purge delete
    hotfix, patch: commit file
    vectorize: embeddings vectors
    intern: user member people
    receipt, contract, invoice: file attachment invoice
    song, jazz, rock, hit, favourite: track music playback
    hear: playback play
    relocated: update address
    clean, empty, wipe: clear delete
    public: share visibility link
    finished, done, completed: completed
    rotation: oncall schedule
    etl: query
    pin, stick: pin
    kick, expel, evict: remove member
    join, enter: join
    rank, role, privilege: role permission
    server, guild: server
    contributor, collaborator, maintainer: member user
    author, creator: user owner
    manager, boss, chief: owner user member schedule
    hire, newcomer, newbie: user member
    contact, address: contact address
    client: customer contact
    lookup: lookup
    profile, bio: profile user
    fork, clone: copy
    checkout: order payment
    undelivered, undeliverable, rejected: bounce
    spam, junk: spam trash
    unread, read: read
    starred, favourite, favorite, bookmark, liked: star saved top
    attach: attach attachment file
    subject, headline, heading: title subject
    headline: title
    signature: sign
    template, boilerplate: template
    audience, crowd, reader: audience list segment
    blast, mailshot, drip: campaign broadcast send
    clicked, click: opens clicks report
    sender: sender
    paragraph, sentence, chapter, section: section block text
    bullet, checklist: checklist item
    tab, worksheet: sheet
    formula, calculate, calculation: formula values
    format, bold, colour, color, font: format style
    chart, graph, plot: chart
    sort, filter, order: sort filter
    field, attribute, property: field property
    schema, structure, layout: schema fields describe
    count, total, sum, amount: count total number
    timeline, log, audit, trail, activity: log activity history
    happened, happen: log activity history events
    progress: progress status
    status, health, alive: status state
    escalate, urgent, sev1, sev2, p1, p2, critical, emergency: incident urgency escalation
    severity, priority, importance: priority urgency
    engineer, responder, pager: oncall user
    nobody, quiet: snooze
    assignee: assign assignee owner
    watcher, follower, observer: follower watcher
    dependency, blocked, blocks, depends, relate, related: link blocks
    merge, combine, unite, fold, consolidate, join: merge
    reopen, revive: reopen
    archive, retire, shelve, hide: archive
    unarchive: restore
    publish: publish post online
    online, live, hosting, hosted: deploy online
    rollback, revert: restore version
    codegen, scaffold, app, application, prototype: app project build generate
    token, credential: key token
    consumption, consumed: usage
    remaining: remaining left limit
    lend, loan: share
    public, private, visibility: visibility
    pdf, docx, markdown: export convert document
    convert, turn: convert export
    workbook: spreadsheet
    memo, minute, protocol: note
    survey, vote, questionnaire, quiz, ballot: poll
    button: button
    bot: bot
    group: group chat channel
    voicemail, telephone: call
    hang, hangup: end call
    carrier, landline, mobile, e164: phone number lookup
    otp, passcode, pin, code: code verification
    country, geo, region: country
    ip, ips: address ip
    attack, attacker, threat, ddos, bot: threats block access
    https, ssl, tls, certificate: ssl setting
    podcast, episode, show: episode show
    artist, band, singer, album, lp: artist album
    speaker, headphones, device: device
    queue, lineup: queue
    trashcan, wastebasket, garbage: trash
    supplier: supplier contact
    tax, vat, gst: tax
    bank: bank account transaction
    equity, asset, liability: balance sheet
    aging, unpaid, outstanding, owed, owe, debt: invoice due unpaid
    quote, estimate, proposal: draft quote
    renew, renewal: subscription
    trial: subscription
    cardholder, card: payment card
    shipping, courier, deliver: fulfillment tracking shipping
    catalogue, catalog, assortment: products
    color: color
    accept, agree, yes: accept
    maybe, tentative: tentative maybe
    recur, recurring, repeat: recurring repeat subscription
    occurrence, instance: occurrence instance
    timezone: zone time
    conference, video: meeting video call
    busy: busy free
    vacation, leave: vacation
    thread, conversation: thread conversation replies
    mention, tag: tag label mention
    topic, purpose: topic
    presence, availability: status
    emoji: emoji reaction
    inventory: inventory
    parent, child, below, under, nested: parent child
    sub: subtask child
    epic, theme: epic issue
    estimation, points: field estimate
    velocity, burndown: sprint report
    swimlane, lane, column: list section column
    brief, summary, overview, digest: summary report
    trace, stacktrace, breadcrumb: stack trace event
    regression, unresolved: issue
    commit, push: commit
    latest: latest
    source: contents file code
    readme: contents file
    artifact, binary: artifact
    log, output, console: log
    compile: workflow build job
    hotfix, feature: branch pull
    fork: copy
    reviewer, review, approval: review reviewer approve
    suggestion, nit: review comment
    contributor: author
    wiki: wiki page
    intranet, portal: space page
    kb, faq, manual, guide: articles help page
    rep, agent, support: agent ticket teammate
    complaint, request, inquiry, enquiry: ticket conversation case
    complaint: dispute
    csat, satisfaction: report
    answer: reply
    macro: view
"""

#: Services that are often asked for. One that the catalog does not have is missed more than any other word.
OTHER_SERVICES = words_in(
    """adobe adyen airbnb airflow alexa alibaba alipay amazon amplitude android ansible asterisk auth0 autocad aws
    azure bamboohr basecamp bigcommerce binance bluesky calendly canva chargebee circleci coinbase coda confluent
    databricks datadog deezer deliveroo digitalocean docker docusign doordash dribbble dropbox drupal ebay ec2
    elasticsearch etsy evernote expedia expensify facebook fedex firebase fitbit freshbooks freshdesk ftp gcp
    godaddy grafana greenhouse gusto heroku hootsuite icloud imap instagram intuit jenkins joomla jotform kafka
    kayak klarna klaviyo kubernetes linkedin linode looker lyft magento mailgun marketo mastodon mattermost miro
    mixpanel mollie mongodb myspace mysql netflix netlify netsuite newrelic obsidian okta opentable paypal paychex
    pinterest plaid posthog postgres postgresql postmark powerbi prometheus quickbooks quora rabbitmq reddit
    redshift rippling s3 sap servicenow sharepoint shippo skype smartsheet snapchat snowflake sonos soundcloud
    splunk squarespace stackoverflow strava surveymonkey tableau teamcity teamviewer tesla terraform tiktok
    tripadvisor tumblr twitch twitter typeform uber vimeo vmware vonage webex webflow wechat wix woocommerce
    wetransfer wordpress workday wrike yahoo yammer yelp youtube zapier zillow zoho zoom"""
)


def _lines(table: str) -> list[tuple[list[str], list[str]]]:
    pairs = (line.split(":", 1) for line in table.strip().splitlines())
    return [([one.strip() for one in said.split(",")], meant.split()) for said, meant in pairs]


def _phrases() -> Mapping[str, str]:
    return {phrase: " ".join(meant) for said, meant in _lines(_PHRASES) for phrase in said}


def _meanings() -> Mapping[str, tuple[str, ...]]:
    meanings: dict[str, dict[str, None]] = {}
    for said, meant in _lines(_MEANINGS):
        for word in said:
            own = meanings.setdefault(stem(word), {})
            own.update(dict.fromkeys(stem(one) for one in meant))
    return {word: tuple(one for one in meant if one != word) for word, meant in meanings.items()}


#: The stem of a word of people -> the stems of the words of definitions.
MEANINGS = _meanings()
_REPLACED = _phrases()
_FOUND = re.compile(
    r"(?<![\w&])(?:" + "|".join(sorted(map(re.escape, _REPLACED), key=len, reverse=True)) + r")(?![\w&])"
)


def spelled_out(text: str) -> str:
    """A text in lower case, with phrases replaced by the words that stand for them: of requests and of definitions."""
    return _FOUND.sub(lambda found: _REPLACED[found[0]], text)
