import { describe, expect, it } from 'vitest'

import { Announcer } from '../src/ui/announcer'

const verdict = (text: string, note = '') => ({ text, answer: text, note, isSure: true })

function announcer() {
  const said: string[] = []
  let now = 0
  const voice = new Announcer((words) => said.push(words), () => now)
  const wait = (milliseconds: number) => (now += milliseconds)
  return { said, voice, wait }
}

describe('Announcer', () => {
  it('says an unchanged answer once, with its question', () => {
    const { said, voice, wait } = announcer()
    for (let n = 0; n < 30; n++) {
      voice.answered('What colour?', verdict('red'), true)
      wait(1000)
    }
    expect(said).toEqual(['What colour? red'])
  })

  it('says a new answer without the question, and what flickers seldom', () => {
    const { said, voice, wait } = announcer()
    for (let n = 0; n < 30; n++) {
      voice.answered('How many?', verdict(String(n)), true)
      wait(1000)
    }
    expect(said).toEqual(['How many? 0', '5', '10', '15', '20', '25'])
  })

  it('does not say again what it is not sure of because the likelihood is another', () => {
    const { said, voice, wait } = announcer()
    for (let n = 0; n < 30; n++) {
      voice.answered('What?', { text: 'Not sure', answer: 'red', note: `perhaps red, ${n} %`, isSure: false }, true)
      wait(1000)
    }
    expect(said).toEqual(['What? Not sure, perhaps red, 0 %'])
  })

  it('says at once what the user asked for', () => {
    const { said, voice } = announcer()
    voice.answered('a', verdict('1', '80 % sure'), false)
    voice.answered('b', verdict('1'), false)
    voice.answered('b', verdict('2'), false)
    voice.forget() // the pin was moved
    voice.answered('b', verdict('2'), true)
    expect(said).toEqual(['a 1, 80 % sure', 'b 1', '2', '2'])
  })
})
