<#
.SYNOPSIS
Confere em um Windows de verdade o que o Wine não pode confirmar. Leva uns dez minutos.

.DESCRIPTION
Publica a aplicação de exemplo (examples\almareia) em .sandbox\, na porta 5080, derruba, mata, retoma e desfaz, e olha o que só o
próprio Windows mostra. Precisa de Python 3.9 ou mais novo no PATH e de rede para o pip, uma vez. Não mexe em mais nada.
Termina com uma linha por item (ok, FALHOU, pulado) e com o número de falhas como código de saída.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File tests\windows-checklist.ps1 -Almaplan C:\Temp\almaplan.exe
#>
[CmdletBinding()]
param(
    # O executável a conferir.
    [string] $Almaplan = (Join-Path $PSScriptRoot '..\target\release\almaplan.exe'),
    # Sem perguntas: o que depende de olhos fica como pulado.
    [switch] $NoQuestions
)
Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
[Console]::OutputEncoding = New-Object Text.UTF8Encoding $false

$repository = (Resolve-Path -LiteralPath (Join-Path $PSScriptRoot '..')).ProviderPath
$Almaplan = (Resolve-Path -LiteralPath $Almaplan).ProviderPath
$sandbox = Join-Path $repository '.sandbox'
$production = Join-Path $sandbox 'producao'
$work = Join-Path ([IO.Path]::GetTempPath()) ('almaplan lista ção ' + [guid]::NewGuid().ToString('N').Substring(0, 8))
$release = Join-Path $work 'dev'
$port = 5080
$results = New-Object Collections.Generic.List[object]

function Check([string] $Name, [scriptblock] $Body) {
    Write-Host "… $Name" -ForegroundColor Cyan
    try {
        $said = & $Body
        $how = if ("$said" -like 'pulado*') { "$said" } else { 'ok' }
    } catch {
        $how = "FALHOU: $($_.Exception.Message)"
    }
    $results.Add([pscustomobject]@{ Item = $Name; Resultado = $how })
    Write-Host "  $how"
}

function Demand([bool] $Condition, [string] $Otherwise) { if (-not $Condition) { throw $Otherwise } }

function Ask([string] $Question) {
    if ($NoQuestions) { return 'pulado: sem perguntas' }
    Demand ((Read-Host "  $Question [s/n]") -match '^[sSyY]') 'a resposta foi não'
}

# O que o almaplan disse: o código de saída, e os eventos de --progress json.
function Invoke-Almaplan([string[]] $Arguments) {
    # O PowerShell 5.1 tomaria a primeira linha de stderr por um erro.
    $ErrorActionPreference = 'Continue'
    $lines = & $Almaplan @Arguments --progress json --state-dir (Join-Path $work 'state') 2> (Join-Path $work 'stderr.txt')
    $code = $LASTEXITCODE
    $events = @($lines | Where-Object { $_ -like '{*' } | ForEach-Object { ConvertFrom-Json $_ })
    [pscustomobject]@{ Code = $code; Events = $events; Text = ($lines -join "`n") }
}

function Deployment { @('apply', (Join-Path $repository 'plans\production.toml'), '--vars', (Join-Path $repository 'plans\sandbox.toml'), '--var', "development=$release") }

function Invoke-Deploy([int] $Expected) {
    $said = Invoke-Almaplan (Deployment)
    Demand ($said.Code -eq $Expected) "saiu com $($said.Code), e não $Expected; veja: almaplan status --state-dir '$work\state'"
    $said
}

function Get-Outputs($Said, [string] $Step) {
    ($Said.Events | Where-Object { $_.event -eq 'step' -and $_.step -eq $Step -and $_.state -eq 'succeeded' } | Select-Object -Last 1).outputs
}

function New-Release([string] $Version, [string] $Faults) {
    Set-Content -LiteralPath (Join-Path $release 'VERSION') -Value $Version -Encoding ASCII
    $file = Join-Path $release 'faults.json'
    if ($Faults) { Set-Content -LiteralPath $file -Value $Faults -Encoding ASCII } elseif (Test-Path -LiteralPath $file) { Remove-Item -LiteralPath $file }
}

function Get-Version { (Invoke-RestMethod "http://127.0.0.1:$port/api/status").version }

function Get-Owner { @(Get-NetTCPConnection -State Listen -LocalPort $port -ErrorAction SilentlyContinue | ForEach-Object OwningProcess | Select-Object -Unique) }

# Outro PowerShell, que faz isso até ser morto.
function Start-Other([string] $Command) {
    $encoded = [Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes($Command))
    Start-Process powershell -ArgumentList '-NoProfile', '-EncodedCommand', $encoded -WindowStyle Hidden -PassThru
}

New-Item -ItemType Directory -Path $work | Out-Null
Copy-Item -LiteralPath (Join-Path $repository 'examples\almareia') -Destination $release -Recurse
Demand (-not (Get-Owner)) "a porta $port está em uso: pare a aplicação antes"
Demand (-not (Test-Path -LiteralPath $sandbox)) "$sandbox existe: apague antes, para começar do zero"

Check 'uma publicação, de uma pasta com acentos e espaços' {
    New-Release '1' ''
    $script:first = Invoke-Deploy 0
    Demand ((Get-Version) -eq '1') 'responde outra versão'
}

Check 'o dono da porta é o processo que foi iniciado, ou um filho dele' {
    $started = [int] (Get-Outputs $first 'start').pid
    $owner = @(Get-Owner)
    Demand ($owner.Count -eq 1) "há $($owner.Count) donos"
    $parent = (Get-CimInstance Win32_Process -Filter "ProcessId=$($owner[0])").ParentProcessId
    Demand ($owner[0] -eq $started -or $parent -eq $started) "iniciado: $started; dono: $($owner[0]), filho de $parent"
}

Check 'o Ctrl+C chega ao Waitress, que termina sozinho' {
    New-Release '2' ''
    $said = Invoke-Deploy 0
    Demand ((Get-Outputs $said 'stop').forced -eq $false) 'o serviço precisou ser morto'
    $down = ($said.Events | Where-Object { $_.PSObject.Properties['downtime_ms'] } | Select-Object -Last 1).downtime_ms
    Write-Host "  fora do ar: $down ms"
    Demand ((Get-Version) -eq '2') 'responde outra versão'
}

Check 'o serviço sobrevive à janela de onde foi publicado' {
    New-Release '3' ''
    $arguments = (Deployment | ForEach-Object { "`"$_`"" }) -join ' '
    $window = Start-Process cmd -ArgumentList "/D /S /C `"`"$Almaplan`" $arguments --state-dir `"$work\state`"`"" -PassThru
    $window.WaitForExit()
    Demand ($window.ExitCode -eq 0) "saiu com $($window.ExitCode)"
    Start-Sleep -Seconds 2
    Demand ((Get-Version) -eq '3') 'não responde mais'
}

Check 'uma versão defeituosa é desfeita, e a antiga volta' {
    New-Release '4' '{"login_500": true}'
    Invoke-Deploy 3 | Out-Null
    Demand ((Get-Version) -eq '3') 'responde outra versão'
    Demand (@(Get-ChildItem -LiteralPath $sandbox -Filter 'producao_failed_*').Count -gt 0) 'falta a pasta _failed_'
}

Check 'desfeita também com alguém dentro da pasta (é restaurada no lugar)' {
    $other = Start-Other "Set-Location -LiteralPath '$production'; [IO.Directory]::SetCurrentDirectory('$production'); Start-Sleep 600"
    try {
        Start-Sleep -Seconds 3
        Invoke-Deploy 3 | Out-Null
        Demand ((Get-Version) -eq '3') 'responde outra versão'
    } finally { Stop-Process -Id $other.Id -Force }
}

Check 'quem segura um arquivo é dito pelo nome' {
    New-Release '5' ''
    $held = Join-Path $production 'VERSION'
    $other = Start-Other "`$f = [IO.File]::Open('$held', 'Open', 'Read', 'None'); Start-Sleep 600"
    try {
        Start-Sleep -Seconds 3
        $said = Invoke-Almaplan (Deployment)
        Demand ($said.Code -in 3, 4) "saiu com $($said.Code)"
        Demand ($said.Text -match 'powershell') 'nenhum erro diz powershell'
    } finally { Stop-Process -Id $other.Id -Force }
    if ($said.Code -eq 4) {
        $resumed = Invoke-Almaplan @('resume')
        Demand ($resumed.Code -in 0, 3) "resume saiu com $($resumed.Code)"
    }
    Demand ((Get-Version) -eq '3') 'responde outra versão'
}

Check 'morto no meio, resume termina' {
    New-Release '6' ''
    $arguments = (Deployment | ForEach-Object { "`"$_`"" }) -join ' '
    $out = Join-Path $work 'killed.txt'
    $process = Start-Process $Almaplan -ArgumentList "$arguments --progress json --state-dir `"$work\state`"" -RedirectStandardOutput $out -WindowStyle Hidden -PassThru
    $until = (Get-Date).AddMinutes(5)
    while (-not (Select-String -LiteralPath $out -SimpleMatch '"step":"update"' -Quiet) -and (Get-Date) -lt $until) { Start-Sleep -Milliseconds 20 }
    Stop-Process -Id $process.Id -Force -ErrorAction SilentlyContinue
    $process.WaitForExit()
    $resumed = Invoke-Almaplan @('resume')
    Demand ($resumed.Code -in 0, 3) "resume saiu com $($resumed.Code)"
    $version = Get-Version
    Demand ($version -eq $(if ($resumed.Code -eq 0) { '6' } else { '3' })) "responde a versão $version"
}

Check 'um almaplan.exe dentro da pasta publicada substitui a si mesmo' {
    Copy-Item -LiteralPath $Almaplan -Destination (Join-Path $release 'almaplan.exe')
    New-Release '7' ''
    Invoke-Deploy 0 | Out-Null
    $outside, $script:Almaplan = $Almaplan, (Join-Path $production 'almaplan.exe')
    try {
        # Um byte a mais no fim: outro arquivo, o mesmo programa.
        $bytes = [IO.File]::ReadAllBytes($outside)
        [IO.File]::WriteAllBytes((Join-Path $release 'almaplan.exe'), $bytes + [byte] 0)
        New-Release '8' ''
        Invoke-Deploy 0 | Out-Null
    } finally { $script:Almaplan = $outside }
    Demand ((Get-Item -LiteralPath (Join-Path $production 'almaplan.exe')).Length -eq $bytes.Length + 1) 'não foi substituído'
    Demand ((Get-Version) -eq '8') 'responde outra versão'
}

Check 'caminhos com mais de 260 caracteres' {
    $name = ('pasta com um nome comprido ' * 4).Trim()
    $deep = "\\?\$release\$name\$name\$name"
    [IO.Directory]::CreateDirectory($deep) | Out-Null
    [IO.File]::WriteAllText("$deep\fim.txt", 'fim')
    New-Release '9' ''
    Invoke-Deploy 0 | Out-Null
    Demand ([IO.File]::Exists("\\?\$production\$name\$name\$name\fim.txt")) 'o arquivo não chegou'
}

Check 'instalar, conferindo o SHA-256' {
    $installer = Join-Path $repository 'packaging\windows\install.ps1'
    $to = Join-Path $work 'instalado'
    $path = [Environment]::GetEnvironmentVariable('Path', 'User')
    $hash = (Get-FileHash -LiteralPath $Almaplan -Algorithm SHA256).Hash
    & $installer -Source $Almaplan -Sha256 $hash -Destination $to | Out-Null
    Demand (Test-Path -LiteralPath (Join-Path $to 'almaplan.exe')) 'não foi copiado'
    $refused = $false
    try { & $installer -Source $Almaplan -Sha256 ('0' * 64) -Destination $to | Out-Null } catch { $refused = $true }
    Demand $refused 'um SHA-256 errado foi aceito'
    Write-Host "  o instalador acrescentou $to ao PATH: tire essa entrada depois (o PATH do usuário era: $path)"
}

Check 'acentos e cores na janela' {
    Start-Process $Almaplan -ArgumentList "status --lang pt-BR --state-dir `"$work\state`"" -NoNewWindow -Wait
    Ask 'Os acentos (“concluído”, “não”) e as cores acima estão certos?'
}

Check 'deploy_log.txt no Bloco de Notas' {
    if (-not $NoQuestions) { Start-Process notepad (Join-Path $production 'deploy_log.txt') }
    Ask 'As linhas e os acentos estão certos no Bloco de Notas?'
}

foreach ($process in Get-Owner) {
    $parent = (Get-CimInstance Win32_Process -Filter "ProcessId=$process").ParentProcessId
    Stop-Process -Id $process -Force -ErrorAction SilentlyContinue
    Get-Process -Id $parent -ErrorAction SilentlyContinue | Where-Object { $_.ProcessName -like 'py*' } | Stop-Process -Force -ErrorAction SilentlyContinue
}
$results | Format-Table -AutoSize -Wrap
Write-Host "O que ficou para olhar: $sandbox e $work. Apague os dois quando não precisar mais."
exit @($results | Where-Object { $_.Resultado -like 'FALHOU*' }).Count
