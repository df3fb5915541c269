# Joins what `llvm-size`, the images and `count.c` printed, at opt-level s and then 3, to one line of JSON; the file `now` gets
# the lines of sizes.tsv.

FNR == 1 {
    opt = opt ? "3" : "s"
    opts[opt]
}

$1 == "size" {
    text[opt] = $2
    rodata[opt] = $3
    static[opt] = $4
}

# Cases are replayed in the order of their regions, region 0 first in every image.
$1 == "replay" {
    if ($2 == "digits" || $2 == "1")
        region = 0
    name = names[region++] = $2
    if (!((opt, name) in seen))
        order[opt, ++cases[opt]] = name
    seen[opt, name]
    for (i = 3; i < NF; i += 2)
        found[opt, name, $i] = $(i + 1)
}

$1 == "region" { instructions[opt, names[$2]] = $4 }

$1 == "symbol" && $3 ~ /[0-9]deliver/ {
    if ($3 ~ /deliver_(ring|ahead)/)
        ring[opt, names[$2]] += $4
    else
        lists[opt, names[$2]] += $4
}

function ratio(a, b) { return b ? sprintf("%.2f", a / b) : 0 }
function get(o, n, key) { return found[o, n, key] }
function row(o, figure, value) { print target "\t" o "\t" figure "\t" value >> now }

function costs(o,    i, n, line, ticks, events) {
    for (i = 1; i <= cases[o]; i++) {
        n = order[o, i]
        ticks = get(o, n, "ticks")
        events = get(o, n, "hidden_events")
        line = line sprintf("%s\"%s\":{\"instructions_per_tick\":%d,\"events_per_tick\":%d,\"instructions_per_event\":%s,\"delivery_per_hidden_event\":%s,\"delivery_per_readout_event\":%s}", \
            (i > 1 ? "," : ""), n, instructions[o, n] / ticks, (events + get(o, n, "readout_events")) / ticks, \
            ratio(instructions[o, n], events + get(o, n, "readout_events")), \
            ratio(lists[o, n], events), ratio(ring[o, n], get(o, n, "readout_events")))
        row(o, "instructions_per_tick_" n, int(instructions[o, n] / ticks))
    }
    return line
}

END {
    exact = 1
    for (o in opts)
        for (i = 1; i <= cases[o]; i++) {
            n = order[o, i]
            utterances += get(o, n, "utterances")
            predictions += get(o, n, "predictions")
            if (get(o, n, "exact") != get(o, n, "utterances"))
                exact = 0
            if (get(o, n, "stack") > stack)
                stack = get(o, n, "stack")
        }
    for (i = 1; i <= 2; i++) {
        o = i == 1 ? "s" : "3"
        row(o, "code_bytes", text[o] + rodata[o])
        by_opt = by_opt sprintf(",\"opt_%s\":{\"code_bytes\":%d,%s}", o, text[o] + rodata[o], costs(o))
    }
    row("s", "ram_bytes", get("s", "5", "ram") + static["s"])
    row("s", "stack_bytes", stack)
    printf "{\"target\":\"%s\",\"text_bytes\":%d,\"rodata_bytes\":%d,\"ram_bytes\":%d,\"stack_bytes\":%d,", \
        target, text["s"], rodata["s"], get("s", "5", "ram") + static["s"], stack
    printf "\"instructions_per_tick\":%d,\"instructions_per_synaptic_event\":%s,", \
        instructions["s", "5"] / get("s", "5", "ticks"), ratio(lists["s", "5"], get("s", "5", "hidden_events"))
    printf "\"predictions\":%d,\"correct\":%d,\"bit_exact\":%s%s}\n", \
        get("s", "digits", "predictions"), get("s", "digits", "correct"), exact ? "true" : "false", by_opt
    exit !(exact && utterances && predictions == utterances)
}
