/* Records sabaki.gtp: what Sabaki's own GTP library writes to an engine, and what the engine answers.

     npm install --prefix SCRATCH @sabaki/gtp@3.0.0
     NODE_PATH=SCRATCH/node_modules node tests/sessions/record_sabaki.js GAME.sgf ENGINE [ARGUMENT]... > tests/sessions/sabaki.gtp

   such as `record_sabaki.js game.sgf python -m ghostgo gtp go9 --visits 16 --seed 1 --resign 0.3`.
   Needs node, of which nothing is needed to play the recording back (tests/test_gtp_sessions.py). The library starts the
   engine, words and sends all commands, reads the answers, and finds by its state tracker what takes the
   engine from one position to the next. What it is asked for, and when, follows Sabaki's
   src/modules/enginesyncer.js and sabaki.js (commit 009ab62), since Sabaki itself needs a screen. */

const {version} = require('@sabaki/gtp/package.json')
const {Command, Controller, ControllerStateTracker} = require('@sabaki/gtp')

const INTERVAL = '50' // board.analysis_interval
const SOUGHT = ['kata-analyze', 'kata-genmove_analyze', 'set_free_handicap', 'undo']
const POINT = '(?:pass|[A-HJ-T]\\d+)'
const INFO = new RegExp(
  `^(?: ?info move ${POINT} visits \\d+ winrate \\d[\\d.]*(?: [a-zA-Z]+ -?\\d[\\d.]*)* pv(?: ${POINT})+)+` +
    '( ownership(?: -?[01]\\.\\d+)+)?$'
)
const [record, program, ...programArguments] = process.argv.slice(2)

const sent = []
let received = ''
const controller = new Controller(program, programArguments)
const tracker = new ControllerStateTracker(controller)
let known = []

controller.on('stderr', ({content}) => console.error(content))
controller.on('started', () => {
  const {stdin, stdout} = controller.process
  const write = stdin.write.bind(stdin)
  stdin.write = text => (sent.push(text), write(text))
  stdout.on('data', data => (received += data))
})

/** As when an engine is attached whose settings have `initial` commands. */
async function attach(initial) {
  controller.start()
  const names = ['name', 'version', 'protocol_version', 'list_commands']
  const answers = names.map(name => controller.sendCommand({name}))
  const more = initial.split(';').map(text => controller.sendCommand(Command.fromString(text)))
  known = (await answers[3]).content.split('\n')
  await Promise.all([...answers, ...more])
}

/** Sabaki ends whatever goes on by asking for the protocol's version. */
const abort = () => controller.busy && controller.sendCommand({name: 'protocol_version'})

async function sync(position) {
  abort()
  await tracker.sync(position)
}

function queue(text, listener) {
  abort()
  return tracker.queueCommand(Command.fromString(text), listener)
}

/** Turn the analysis of a position on, and look on until there were `reports`. */
async function analyse(position, color, reports = 2) {
  await sync(position)
  const name = ['analyze', 'kata-analyze', 'lz-analyze'].find(name => known.includes(name))
  const ownership = name === 'kata-analyze' ? ' ownership true' : ''
  await new Promise((resolve, reject) =>
    queue(`${name} ${color} ${INTERVAL}${ownership}`, ({line, end}) => {
      if (line.startsWith('info ') && --reports === 0) resolve()
      if (end && reports > 0) reject(new Error(`${name} ended`))
    })
  )
}

/** Let the engine move; the position after it. */
async function generate(position, color) {
  await sync(position)
  const names = ['genmove_analyze', 'kata-genmove_analyze', 'lz-genmove_analyze']
  const name = names.find(name => known.includes(name))
  let move
  await queue(`${name} ${color} ${INTERVAL}`, ({line}) => {
    if (line.startsWith('play ')) move = line.slice('play '.length)
  })
  return after(position, `${color} ${move}`)
}

function after(position, ...moves) {
  const plays = moves.map(text => ({name: 'play', args: text.split(' ')}))
  return {...position, history: [...position.history, ...plays]}
}

const back = (position, count) => ({...position, history: position.history.slice(0, -count)})
const empty = {komi: 6.5, boardsize: [9, 9], history: []}
const handicap = {
  komi: 0.5,
  boardsize: [9, 9],
  history: [{name: 'set_free_handicap', args: ['C7', 'C3', 'G7', 'G3']}]
}

async function play() {
  await attach('time_settings 0 5 1;kata-set-rules chinese')

  // A game with the analysis on, gone back in and branched off.
  await analyse(empty, 'B')
  let game = after(empty, 'B E5')
  await analyse(game, 'W')
  game = await generate(game, 'W')
  game = await generate(after(game, 'B J1'), 'W')
  await analyse(back(game, 2), 'B')
  await analyse(game, 'B')
  await analyse(empty, 'B', 1)
  game = after(empty, 'B E5', 'W E3', 'B C5', 'W G5', 'B G7')
  await analyse(game, 'W', 1)
  await analyse(after(back(game, 1), 'B pass', 'W G6'), 'B', 1)

  // Typed on its console.
  for (const text of ['showboard', 'genmove b', 'undo', 'play b E5', 'fly away', '# a remark', '12 name'])
    await queue(text)
  await queue(`loadsgf ${record} 3`)
  await queue('kata-set-rules japanese')
  await queue('lz-genmove_analyze w 50')
  await analyse(game, 'W', 1)

  // Handicap, in which the engine resigns, a problem, and boards that the engine has not got.
  await generate(handicap, 'W')
  await analyse(after(handicap, 'W pass'), 'B', 1)
  await analyse(after(handicap, 'W E5', 'W F5', 'W F4'), 'B', 1)
  await sync({...empty, boardsize: [9, 13]}).catch(error => console.error(error.message))
  await sync({...empty, boardsize: [25, 25]}).catch(error => console.error(error.message))

  // To the end, counted, and closed while an analysis goes on.
  game = after(empty, 'B E5', 'W E3', 'B pass', 'W pass')
  await sync(game)
  await queue('final_score')
  await queue('final_status_list dead')
  await analyse(game, 'B', 1)
  await controller.stop()
}

/** A regular expression for an answer: whatever the search and the version may say, else word by word. */
function pattern(name, answer) {
  if (name === 'version') return '= \\d+\\.\\d+\\.\\d+ .+'
  if (name === 'list_commands')
    return `= ${SOUGHT.map(command => `(.*\\n)*${command}\\n`).join('')}(.*\\n)*version`
  const kinds = answer.split('\n').map(line => {
    const report = INFO.exec(line)
    if (report) return report[1] ? '(\\n{info} {ownership})+' : '(\\n{info})+'
    return '\\n' + line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  })
  return kinds.filter((kind, i) => kind !== kinds[i - 1] || kind.startsWith('\\n')).join('').slice(2)
}

play()
  .then(() => {
    const answers = received.split('\n\n')
    console.log(`# Recorded: Sabaki's GTP library @sabaki/gtp ${version}, driven by record_sabaki.js as Sabaki does.`)
    sent.forEach((text, i) => {
      const command = text.trimEnd().replace(record, '{sgf}')
      console.log(`${command}\n~ ${pattern(Command.fromString(command).name, answers[i])}`)
    })
  })
  .catch(error => {
    console.error(error)
    process.exit(1)
  })
