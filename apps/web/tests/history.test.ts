import { describe, expect, it } from 'vitest'

import { type Noted, History, MOST_ENTRIES, type Seen } from '../src/history/history'

const seen = (id: number): Seen => ({ id, width: 1, height: 1, rgba: new ArrayBuffer(4) })
const given = (question: string, text: string): Noted => ({
  question,
  verdict: { text, answer: text, note: '', isSure: true },
  turn: { question, ids: [1] },
})

function make() {
  const log = { changes: 0, encoded: [] as number[] }
  const encode = ({ id }: Seen) => (log.encoded.push(id), Promise.resolve(new Blob([String(id)])))
  const history = new History(() => log.changes++, encode, () => new Date(0))
  const shown = () => history.entries.map(({ question, verdict }) => `${question} ${verdict.text}`)
  return { history, log, shown }
}

describe('History', () => {
  it('has the newest answer first, and of live ones those that are new', () => {
    const { history, log, shown } = make()
    for (const [n, text] of ['red', 'red', 'blue', 'blue', 'red'].entries()) history.add(given('Colour?', text), seen(n), true)
    expect(shown()).toEqual(['Colour? red', 'Colour? blue', 'Colour? red'])
    expect(log.changes).toBe(3)
    history.add(given('Shape?', 'red'), seen(9), true)
    expect(shown()[0]).toBe('Shape? red')
  })

  it('has every answer that was asked for, and the next live one, whatever it is', () => {
    const { history, shown } = make()
    history.add(given('Colour?', 'red'), seen(1), true)
    for (let n = 0; n < 2; n++) history.add(given('Colour?', 'red'), seen(2), false)
    history.add(given('Colour?', 'red'), seen(3), true)
    expect(shown()).toHaveLength(4)
  })

  it('encodes a picture once for all answers about it', async () => {
    const { history, log } = make()
    for (const question of ['a', 'b', 'c']) history.add(given(question, 'x'), seen(7), false)
    history.add(given('d', 'x'), seen(8), false)
    expect(log.encoded).toEqual([7, 8])
    expect(await Promise.all(history.entries.map(async ({ picture }) => (await picture).text()))).toEqual(['8', '7', '7', '7'])
  })

  it('forgets the oldest beyond its size, what is deleted, and everything', () => {
    const { history, shown } = make()
    for (let n = 0; n < MOST_ENTRIES + 3; n++) history.add(given(String(n), 'x'), seen(n), false)
    expect(history.entries).toHaveLength(MOST_ENTRIES)
    expect(shown().at(-1)).toBe('3 x')
    const [newest] = history.entries
    history.remove(newest!.id)
    expect(shown()[0]).toBe(`${MOST_ENTRIES + 1} x`)
    history.clear()
    expect(history.entries).toEqual([])
  })

  it('leaves out an answer whose picture is not there', () => {
    const { history } = make()
    history.add(given('a', 'x'), null, false)
    expect(history.entries).toEqual([])
  })
})
